"""Peers: the applications that the benchmarks compare with."""
