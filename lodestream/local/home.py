"""Where an instance lives: one folder, `LODE_HOME`, with everything that it keeps."""

import os
import secrets
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lodestream import process
from lodestream.errors import LodeError
from lodestream.local import ports

VARIABLE = "LODE_HOME"
DEFAULT = "~/.lodestream"
CATALOG, QUACK_PORT = "LODE_CATALOG", "LODE_QUACK_PORT"
"""What the catalog service is told beside what every service is."""
FORMAT = 1
"""Raised when what lies in a home can no longer be read by an older version, or an older one's by this."""
FOLDERS = ("nats", "objects", "catalog", "logs", "models", "work", "run", "secrets")
RECORD = "instance.json"
LONGEST_FOLDER = 100
"""Bytes of the path of a folder with a socket in it; the kernel takes 107 for both."""


class Instance(msgspec.Struct, kw_only=True):
    """What an instance remembers of itself."""

    format: int
    id: str
    """Names its NATS server, so that no other is taken for it."""
    ports: dict[str, int] = {}
    """TCP ports on loopback by what listens there; kept over restarts."""


@dataclass(frozen=True)
class Home:
    """The folder of one instance."""

    root: Path

    @classmethod
    def find(cls) -> "Home":
        """The home that the environment names, else `~/.lodestream`."""
        return cls(Path(os.environ.get(VARIABLE) or DEFAULT).expanduser().absolute())

    @property
    def nats(self) -> Path:
        """JetStream's store, and the server's configuration."""
        return self.root / "nats"

    @property
    def objects(self) -> Path:
        """The object directory."""
        return self.root / "objects"

    @property
    def catalog(self) -> Path:
        """The catalog's database."""
        return self.root / "catalog"

    @property
    def models(self) -> Path:
        """Triton's model repository; instances may share one, which the environment names then."""
        return Path(os.environ.get(process.MODELS) or self.root / "models").expanduser().absolute()

    @property
    def logs(self) -> Path:
        """One file for each process, and its older parts."""
        return self.root / "logs"

    @property
    def work(self) -> Path:
        """Temporary files."""
        return self.root / "work"

    @property
    def run(self) -> Path:
        """What is true only while it runs: the lock, the state."""
        return self.root / "run"

    @property
    def secrets(self) -> Path:
        """Passwords, one file each, for nobody else to read."""
        return self.root / "secrets"

    def refuse_strangers(self) -> None:
        """Raises LodeError for a folder full of something else: it is not made a home by mistake."""
        if self.root.is_dir() and not (self.root / RECORD).exists():
            strange = sorted(path.name for path in self.root.iterdir() if path.name not in FOLDERS)
            if strange:
                what = f"{self.root} holds other things ({strange[0]})"
                raise LodeError(f"{what}; name an empty folder by {VARIABLE}")

    def prepare(self) -> None:
        """Make what is missing. Raises LodeError where it cannot be written to, or is another version's."""
        try:
            for name in FOLDERS:
                (self.root / name).mkdir(parents=True, exist_ok=True)
            self.secrets.chmod(0o700)
            if self._read() is None:
                self.save(Instance(format=FORMAT, id=secrets.token_hex(8)))
            (self.run / "probe").write_bytes(b"x" * 4096)
            (self.run / "probe").unlink()
        except OSError as error:
            raise LodeError(f"cannot write to {self.root}: {error.strerror}; {VARIABLE} names another place") from None

    def instance(self) -> Instance:
        """What the instance remembers. Raises LodeError where there is none, or another version's."""
        if (found := self._read()) is None:
            raise LodeError(f"no instance in {self.root}; start one with: lode up")
        return found

    def save(self, instance: Instance) -> None:
        """Remember it."""
        write_whole(self.root / RECORD, msgspec.json.format(msgspec.json.encode(instance), indent=2) + b"\n")

    def password_file(self, user: str) -> Path:
        """The file that holds the user's NATS password."""
        return self.secrets / user

    def password(self, user: str) -> str:
        """The user's password. Raises LodeError where there is no such user."""
        try:
            return self.password_file(user).read_text().strip()
        except OSError as error:
            raise LodeError(f"no password of {user!r} in {self.secrets}: {error.strerror}") from None

    def make_passwords(self, users: Iterable[str]) -> dict[str, str]:
        """Every user's password; 256 random bits for those who have none yet."""
        for user in users:
            file = self.password_file(user)
            if not file.exists() or not self.password(user):
                write_whole(file, secrets.token_urlsafe(32).encode() + b"\n", mode=0o600)
            file.chmod(0o600)
        return {user: self.password(user) for user in users}

    def nats_url(self) -> str:
        """Where the instance's NATS server listens. Raises LodeError where there is no instance."""
        return f"nats://127.0.0.1:{self.instance().ports.get(ports.NATS, 0)}"

    def triton_folder(self) -> Path:
        """Holds the Triton server's socket; a temporary folder where the home's path is too long for one.

        Raises LodeError where there is no instance.
        """
        near = self.run / "triton"
        short = Path(tempfile.gettempdir()) / f"lode-{os.getuid()}-{self.instance().id}"
        return near if len(os.fsencode(near)) <= LONGEST_FOLDER else short

    def triton(self) -> str:
        """Where the Triton server listens, as gRPC has it. Raises LodeError where there is no instance.

        Triton ends every address with a port, which is a part of the name where it listens on a file.
        """
        return f"unix:{self.triton_folder()}/grpc:1"

    def environment(self, user: str) -> dict[str, str]:
        """What a service process that acts as `user` is told. Raises LodeError where there is no instance."""
        return {
            VARIABLE: str(self.root),
            process.NATS_URL: self.nats_url(),
            process.NATS_USER: user,
            process.NATS_PASSWORD_FILE: str(self.password_file(user)),
            process.OBJECTS: self.objects.as_uri(),
            process.WORK: str(self.work),
            process.TRITON: self.triton(),
            process.MODELS: str(self.models),
            CATALOG: str(self.catalog),
            QUACK_PORT: str(self.instance().ports.get(ports.QUACK, 0)),
        }

    def _read(self) -> Instance | None:
        record = self.root / RECORD
        try:
            text = record.read_bytes()
            version = msgspec.json.decode(text)["format"]
            if version != FORMAT:
                why = f"was written by another version of Lodestream (format {version}, this one has {FORMAT})"
                raise LodeError(f"{self.root} {why}; use that version, or name another place by {VARIABLE}")
            return msgspec.json.decode(text, type=Instance)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LodeError(f"cannot read {record}: {error.strerror}") from None
        except (msgspec.MsgspecError, KeyError, TypeError):
            raise LodeError(f"{record} is not readable; put it back, or name another place by {VARIABLE}") from None


def logs_folder() -> Path:
    """Where this environment's instance keeps its logs."""
    return Home.find().logs


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a small file so that a reader, and a power cut, leave the old one or the new one, never a part."""
    temp = path.with_name(f".{path.name}.{os.getpid()}")
    temp.unlink(missing_ok=True)
    opened = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(opened, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temp.replace(path)
    finally:
        temp.unlink(missing_ok=True)
