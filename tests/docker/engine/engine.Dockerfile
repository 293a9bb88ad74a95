FROM localhost/debian:forky
COPY debian.sources /etc/apt/sources.list.d/debian.sources
COPY apt.conf /etc/apt/apt.conf.d/99x
RUN rm -f /etc/apt/sources.list && apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends docker.io docker-cli docker-buildx docker-compose iptables openssl procps \
    && rm -rf /var/lib/apt/lists/*
