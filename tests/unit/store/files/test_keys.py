import os
import subprocess
from pathlib import Path

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ckptd.errors import ConfigurationError, UsageError
from ckptd.limits import CHECKPOINT_NAME_BYTES_MAX
from ckptd.model.signatures import SignableManifest, Signature
from ckptd.store.files.keys import (
    KEYS_MAX,
    TRUSTED_FILE_BYTES_MAX,
    Patterns,
    PublicKey,
    SigningKey,
    parse_trusted_key,
    parse_trusted_keys,
    read_trusted_keys,
)

signable = SignableManifest.of
KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(b"k" * 32))  # names of tests have it
TEXT = KEY.public.text


def test_a_key_has_signed_what_it_signed_and_nothing_else() -> None:
    signature = KEY.sign(b"manifest")
    assert KEY.public.has_signed(signable(b"manifest"), signature)
    assert not KEY.public.has_signed(signable(b"manifest."), signature)
    assert not SigningKey.draw().public.has_signed(signable(b"manifest"), signature)
    for length in (0, 63, 65):
        assert not KEY.public.has_signed(
            signable(b"manifest"), Signature(signature.key, bytes(length))
        )


def test_what_a_key_signed_for_another_purpose_is_no_signature_of_a_manifest() -> None:
    key = Ed25519PrivateKey.generate()
    signing = SigningKey(key)

    def counts(signed: bytes) -> bool:
        signature = Signature(signing.public.id, key.sign(signed))
        return signing.public.has_signed(signable(b"manifest"), signature)

    assert counts(b"ckptd-manifest-v1\0manifest")
    assert not counts(b"manifest")
    assert not counts(b"ckptd-manifest-v2\0manifest")


def test_a_public_key_is_written_in_one_way() -> None:
    assert PublicKey.parse(TEXT).text == TEXT
    assert PublicKey.parse(TEXT).id == KEY.sign(b"").key
    zeros = PublicKey.parse("ed25519:" + "A" * 43 + "=")
    assert zeros.id == blake3(bytes(32)).hexdigest()[:16] == "2ada83c1819a5372"
    for wrong in (
        "",
        "ed25519:AAAA",
        TEXT[8:],
        TEXT[:-1],
        f"{TEXT} ",
        TEXT.replace("ed25519", "rsa"),
        "ed25519:ä",
    ):
        with pytest.raises(UsageError, match="32 bytes in base64"):
            PublicKey.parse(wrong)


def test_a_private_key_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(KEY.pem())
    path.chmod(0o600)
    assert SigningKey.read(str(path)).public.text == TEXT


def test_a_key_drawn_by_openssl_is_a_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    command = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    path.chmod(0o600)
    key = SigningKey.read(str(path))
    assert key.public.has_signed(signable(b"manifest"), key.sign(b"manifest"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o700, 0o644])
def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_bytes(KEY.pem())
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"mode {mode:04o}.* Run: chmod 600"):
        SigningKey.read(str(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no private key"),
        (KEY.pem()[:-40], "no private key"),
        (b"x" * 10_000, "more than"),
    ],
)
def test_a_file_that_is_no_private_key_is_refused(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=words) as refused:
        SigningKey.read(str(path))
    assert "PRIVATE KEY" not in str(refused.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    for path in (fifo, tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigurationError):
            SigningKey.read(str(path))


def write(directory: Path, *lines: str) -> str:
    path = directory / "trusted"
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o644)
    return str(path)


def test_trusted_keys_have_patterns_and_comments(tmp_path: Path) -> None:
    other = SigningKey.draw().public
    path = write(
        tmp_path, "# ours", "", f"{TEXT} llama/*,qwen/rank-? # trainer", f"  {other.text}#all"
    )
    first, second = read_trusted_keys(path).values()
    assert (first.public.id, first.comment) == (KEY.public.id, "trainer")
    assert [name for name in ("llama/rank-3", "llama/a/b", "qwen/rank-1") if first.may_sign(name)]
    assert not any(first.may_sign(name) for name in ("llama", "qwen/rank-10", "LLAMA/rank-3"))
    assert (second.allowed, second.may_sign("anything")) == (None, True)
    assert first.line == f"{TEXT} llama/*,qwen/rank-? # trainer"
    assert second.line == f"{other.text} # all"
    assert parse_trusted_key(first.line).line == first.line
    assert parse_trusted_key(TEXT).line == TEXT


@pytest.mark.parametrize("line", ["", " ", "# only a comment"])
def test_a_line_without_a_key_is_no_trusted_key(line: str) -> None:
    with pytest.raises(UsageError, match="32 bytes in base64"):
        parse_trusted_key(line)


@pytest.mark.parametrize("pattern", ["*", "a" * CHECKPOINT_NAME_BYTES_MAX])
def test_a_pattern_is_as_long_as_a_name_may_be(pattern: str) -> None:
    allowed = parse_trusted_key(f"{TEXT} {pattern}").allowed
    assert allowed is not None
    assert allowed.texts == (pattern,)
    with pytest.raises(UsageError, match="empty or too long"):
        parse_trusted_key(f"{TEXT} {pattern},{'a' * (CHECKPOINT_NAME_BYTES_MAX + 1)}")


@pytest.mark.parametrize(
    "line", [TEXT[:-2], f"{TEXT} a b", f"{TEXT} a,", f"{TEXT} ,", "llama/*", f"{TEXT} {'a' * 256}"]
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigurationError, match="line 2"):
        read_trusted_keys(write(tmp_path, "# first", line))


def test_a_file_of_trusted_keys_with_a_key_twice_or_too_many_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="second time"):
        read_trusted_keys(write(tmp_path, TEXT, f"{TEXT} llama/*"))
    many = [SigningKey.draw().public.text for _ in range(KEYS_MAX + 1)]
    with pytest.raises(ConfigurationError, match="more than"):
        read_trusted_keys(write(tmp_path, *many))


def test_as_many_keys_are_trusted_as_the_limit_says() -> None:
    texts = [PublicKey(number.to_bytes(32, "big")).text for number in range(KEYS_MAX + 1)]
    assert len(parse_trusted_keys("it", "\n".join(texts[:KEYS_MAX]).encode())) == KEYS_MAX
    with pytest.raises(ConfigurationError, match=f"more than {KEYS_MAX} keys"):
        parse_trusted_keys("it", "\n".join(texts).encode())


def test_what_is_read_of_trusted_keys_is_as_long_as_the_limit_says(tmp_path: Path) -> None:
    longest = f"{TEXT} #".ljust(TRUSTED_FILE_BYTES_MAX, "x").encode()
    assert list(parse_trusted_keys("it", longest)) == [KEY.public.id]
    with pytest.raises(ConfigurationError, match="is too long"):
        parse_trusted_keys("it", longest + b"x")
    path = tmp_path / "trusted"
    path.write_bytes(longest)
    path.chmod(0o755)  # nothing in it is secret
    assert list(read_trusted_keys(str(path))) == [KEY.public.id]
    path.write_bytes(longest + b"x")
    with pytest.raises(ConfigurationError, match=f"more than {TRUSTED_FILE_BYTES_MAX} bytes"):
        read_trusted_keys(str(path))


def test_a_file_of_trusted_keys_that_anybody_may_write_is_refused(tmp_path: Path) -> None:
    path = Path(write(tmp_path, TEXT))
    path.chmod(0o666)
    with pytest.raises(ConfigurationError, match="chmod 664"):
        read_trusted_keys(str(path))


def test_patterns_match_as_those_of_publishing_do() -> None:
    patterns = Patterns(["llama/*", "*.ema"])
    assert patterns.match("llama/a/b")
    assert patterns.match("qwen/x.ema")
    assert not patterns.match("xllama/a")
    assert not Patterns([]).match("")
