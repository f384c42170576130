"""Files are written whole or not at all, and through links."""

from __future__ import annotations

import pytest

from fastattn_lite import _files


def half(file) -> None:
    """Write a part, and fail as a full disk does."""
    file.write(b"half")
    raise OSError("the disk is full")


def test_what_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="full"):
        _files.write(path, half)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_a_link(is_there, tmp_path):
    path, target = tmp_path / "a.json", tmp_path / "folder" / "b.json"
    target.parent.mkdir()
    if is_there:
        target.write_bytes(b"old")
    path.symlink_to(target)
    _files.write(path, lambda file: file.write(b"new"))
    assert path.is_symlink()
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_the_rights_of_a_file_stay(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    path.chmod(0o600)
    _files.write(path, lambda file: file.write(b"new"))
    assert path.stat().st_mode & 0o777 == 0o600
