"""requirements.txt and requirements-dev.txt: complete, pinned with hashes, and under licences that allow our use."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FILES = ("requirements.txt", "docker/requirements-legacy.txt", "requirements-dev.txt")
COPYLEFT = re.compile(r"\bA?GPL|(?<!Lesser )(?<!Library or Lesser )General Public License", re.IGNORECASE)


def pins(name: str) -> dict[str, str]:
    """Return package → version of one file."""
    lines = (ROOT / name).read_text().splitlines()
    requirements = [Requirement(line.rstrip(" \\")) for line in lines if line and line[0] not in "# "]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in requirements}


def licence(package: str) -> str:
    """Return all that the package states; the whole text of a licence counts by its first line."""
    metadata = importlib.metadata.metadata(package)
    names = ("License-Expression", "License", "Classifier")
    stated = [text.strip().partition("\n")[0] for name in names for text in metadata.get_all(name, [])]
    return "; ".join(text for text in stated if "::" not in text or text.startswith("License ::"))


@pytest.mark.parametrize("name", FILES)
def test_every_requirement_has_a_version_and_hashes(name):
    text = (ROOT / name).read_text()
    assert "//" not in text  # an index would decide where packages come from
    entries = re.findall(r"^[a-z0-9][^\n]*(?:\n {4}[^\n]*)*", text, re.MULTILINE)
    assert len(entries) == len(pins(name))
    for entry in entries:
        assert re.fullmatch(r"[a-z0-9.-]+==[^\s;]+(?: \\\n {4}--hash=sha256:[0-9a-f]{64})+", entry), entry


def test_the_files_agree_with_pyproject_and_with_each_other():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    for name, group in zip(FILES, ("app", "legacy", "dev"), strict=True):
        for text in groups[group]:
            if isinstance(text, str):
                requirement = Requirement(text)
                assert requirement.specifier.contains(pins(name)[canonicalize_name(requirement.name)]), text
    app, legacy, development = (pins(name) for name in FILES)
    assert app.items() <= legacy.items() <= development.items()


def test_the_installed_packages_are_the_pinned_ones():
    versions = pins("requirements-dev.txt")
    assert {package: importlib.metadata.version(package) for package in versions} == versions


def test_no_package_of_the_product_is_under_the_gpl():
    licences = {package: licence(package) for package in pins("docker/requirements-legacy.txt")}
    assert {package for package, text in licences.items() if not text.strip("; ")} == set()
    assert {package: text for package, text in licences.items() if COPYLEFT.search(text)} == {}


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("GPL-3.0-only", True),
        ("AGPL-3.0-or-later", True),
        ("GPLv2", True),
        ("License :: OSI Approved :: GNU General Public License v3 (GPLv3)", True),
        ("License :: OSI Approved :: GNU Affero General Public License v3", True),
        ("License :: OSI Approved :: GNU Library or Lesser General Public License (LGPL)", False),
        ("LGPLv3", False),
        ("MIT", False),
    ],
)
def test_the_lgpl_is_told_from_the_gpl(text, refused):
    assert bool(COPYLEFT.search(text)) is refused
