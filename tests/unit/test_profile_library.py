"""Profiles by name and by path, and files that are read, written and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from profile_documents import document

from planner.profiler.library import list_profiles, load_profile, read_profile, write_profile
from planner.scaling.profile import ProfileError, profile_from_document

PROFILES = Path(__file__).parents[2] / "profiles"


def test_every_profile_that_comes_along_loads_by_its_unique_name() -> None:
    profiles = list_profiles()
    names = [profile.name for profile in profiles]

    assert names == sorted(set(names))
    assert "h200-llama-3.1-8b-fp8-tp1" in names
    assert [load_profile(name) for name in names] == list(profiles)


def test_every_profile_lies_where_its_hardware_says() -> None:
    for path in sorted(PROFILES.glob("*/*.json")):
        profile = read_profile(path)
        gpu = profile.gpu.split("-")[0].lower()

        assert profile.name == f"{gpu}-{path.parent.name}-tp{profile.tensor_parallel}"
        assert path.name == f"{gpu}-tp{profile.tensor_parallel}.json"


def test_a_path_names_a_file() -> None:
    path = PROFILES / "llama-3.1-8b-fp8" / "h200-tp1.json"

    assert load_profile(str(path)) == load_profile("h200-llama-3.1-8b-fp8-tp1")


def test_an_unknown_name_lists_near_ones() -> None:
    with pytest.raises(ProfileError, match=r"^profile: 'h200-llama-8b-fp8' is not known; did you mean .*h200-llama-3"):
        load_profile("h200-llama-8b-fp8")


def test_a_name_like_no_other_points_to_the_list() -> None:
    with pytest.raises(ProfileError, match=r"^profile: 'zzz' is not known; `planner profile list` shows all; a file's"):
        load_profile("zzz")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    profile = profile_from_document(document())
    path = tmp_path / "deep" / "folder" / "profile.json"

    write_profile(profile, path)

    assert read_profile(path) == profile
    assert json.loads(path.read_text()) == document()
    assert '\n    "isl_tokens": [100, 1000, 2000, 4000, 8000],\n' in path.read_text()


def test_refuses_to_write_where_it_cannot(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"cannot be written \(Is a directory\); choose another file$"):
        write_profile(profile_from_document(document()), tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, r"p\.json: cannot be read \(No such file or directory\); check the path$", id="no file"),
        pytest.param('{"schema": ', r"p\.json: is not JSON \(.*\); is the file truncated\?$", id="truncated"),
        pytest.param("[]", r"p\.json: document: \[\] must be an object with the keys", id="no object"),
        pytest.param('{"schema": NaN}', r"p\.json: document: schema_version, name, .* missing", id="no keys"),
        pytest.param("\xff", r"p\.json: is not JSON", id="no text"),
    ],
)
def test_an_unusable_file_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "p.json"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))

    with pytest.raises(ProfileError, match=message) as caught:
        load_profile(str(path))

    assert str(caught.value).startswith(f"{path}: ")
