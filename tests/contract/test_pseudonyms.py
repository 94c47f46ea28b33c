"""Keyed hashes of entity keys: the same for the same, of no use without the secret."""

import pytest

from knownat.contract.pseudonyms import Pseudonyms, read_pseudonyms
from knownat.errors import ConfigError

ONE, OTHER = Pseudonyms(b"a" * 32), Pseudonyms(b"b" * 32)


def test_one_entity_has_one_pseudonym_and_two_have_two():
    values = ["7", 7, "", "Süd", -1, 2**63 - 1]
    made = [ONE.of("customer", value) for value in values]

    assert made == [Pseudonyms(b"a" * 32).of("customer", value) for value in values]
    assert len(set(made)) == len(values)
    assert ONE.of("customer", 7) != ONE.of("product", 7)


def test_another_secret_makes_other_pseudonyms_and_says_so():
    mine, theirs = ONE.of("customer", 7), OTHER.of("customer", 7)

    assert mine.split(":")[0] != theirs.split(":")[0]
    assert mine.split(":")[1] != theirs.split(":")[1]
    assert ONE.strangers([mine, theirs, None]) == 1


def test_a_missing_key_stays_missing():
    assert ONE.of("customer", None) is None


def test_who_holds_the_secret_finds_what_they_know():
    known = ONE.known("customer", [1, 2, 3])

    assert known[ONE.of("customer", 2)] == 2
    assert ONE.of("customer", 4) not in known


def test_a_key_as_it_is_is_told_from_a_pseudonym():
    assert ONE.made(OTHER.of("customer", 7))
    assert not ONE.made("7")
    assert not ONE.made("JFK:LAX")


def secret(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_secret_is_read_without_the_white_space_around_it(tmp_path):
    path = secret(tmp_path / "secret", "a" * 32 + "\n")

    assert read_pseudonyms(path).of("k", 1) == ONE.of("k", 1)


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ("a" * 31, 0o600, "holds 31 characters, not 32 or more"),
        ("a" * 32, 0o604, "everyone on this machine may read it"),
    ],
)
def test_a_secret_that_is_none_is_refused_and_not_repeated(tmp_path, text, mode, says):
    with pytest.raises(ConfigError, match=says) as refused:
        read_pseudonyms(secret(tmp_path / "secret", text, mode))
    assert text not in str(refused.value)


def test_a_secret_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_pseudonyms(tmp_path / "secret")


def test_those_of_another_secret_are_strangers_and_those_one_knows_are_found():
    ours, theirs = Pseudonyms(b"3d8f" * 8), Pseudonyms(b"9ab0" * 8)
    logged = [ours.of("customer", 7), None, theirs.of("customer", 7), theirs.of("customer", 8)]

    assert (ours.strangers(logged), theirs.strangers(logged)) == (2, 1)
    assert ours.known("customer", [None, 7, 8]) == {logged[0]: 7, ours.of("customer", 8): 8}


def test_half_a_surrogate_pair_is_an_entity_like_any_other():
    assert Pseudonyms(b"3d8f" * 8).made(Pseudonyms(b"3d8f" * 8).of("customer", "\ud800"))
