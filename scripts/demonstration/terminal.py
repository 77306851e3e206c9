"""What the demo writes: lines with their time, headings, commands as a person types them, and what those answer."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import termios
import textwrap
import time

STARTED = time.monotonic()
# Lines are easier to read if they do not fill a wide terminal.
WIDEST = 110
NARROWEST = 40
COMMAND_SECONDS = 20


def width() -> int:
    """How long lines may become."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns))


def say(text: str) -> None:
    """Writes what has happened, and when."""
    try:
        tell(f"[{time.monotonic() - STARTED:5.1f} s] ", text)
    except OSError:
        pass  # nobody reads any more; ending what was started matters more


def tell(before: str, text: str) -> None:
    """Writes a text behind what stands before its first line."""
    # a text that is itself indented stays so
    indent = " " * (len(before) + len(text) - len(text.lstrip()))
    write(textwrap.fill(before + text, width(), subsequent_indent=indent, break_on_hyphens=False))


def heading(text: str) -> None:
    line = f"── {text} ".ljust(min(width(), 80), "─")
    write(f"\n\033[1m{line}\033[0m\n" if is_colourful() else f"\n{line}\n")


def write(text: str) -> None:
    print(text, flush=True)


def is_colourful() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def prompt(words: list[str]) -> None:
    """Writes a command as a person types it, broken before its options where it is too long."""
    lines = [f"$ {words[0]}"]
    for position, word in enumerate(words[1:], start=1):
        # an option and its value stay together
        follows = words[position + 1 : position + 2] if word.startswith("--") else []
        ahead = len(" ".join([word, *follows])) + len(" \\")
        if word.startswith("--") and len(lines[-1]) + 1 + ahead > width():
            lines[-1] += " \\"
            lines.append(f"    {word}")
        else:
            lines[-1] += f" {word}"
    write("\n".join(lines))


def excerpt(text: str, wanted: list[tuple[str, int]]) -> str:
    """Picks the paragraphs that begin so, each with so many of its lines."""
    paragraphs = [paragraph.splitlines() for paragraph in text.strip("\n").split("\n\n")]
    picked = []
    for beginning, most in wanted:
        for lines in paragraphs:
            if lines and lines[0].startswith(beginning):
                left = len(lines) - most
                picked.append("\n".join(lines[:most] + ([f"  … {left} more lines"] if left > 0 else [])))
                break
    return "\n\n".join(picked)


def output_of(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Runs a command and returns its exit status and what it writes: for a terminal as wide as ours, if we have one.

    Raises TimeoutError if it does not end.
    """
    read, written = pty.openpty() if sys.stdout.isatty() else os.pipe()
    try:
        if os.isatty(written):
            fcntl.ioctl(written, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width(), 0, 0))
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.STDOUT
        )
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(written)
    try:
        return ended(process, read)
    finally:
        process.kill()
        process.wait()
        os.close(read)


def ended(process: subprocess.Popen, read: int) -> tuple[int, str]:
    deadline = time.monotonic() + COMMAND_SECONDS
    text = b""
    while select.select([read], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            piece = os.read(read, 65536)
        except OSError:  # how a terminal says that nobody writes to it any more
            piece = b""
        if not piece:
            status = process.wait(max(0.1, deadline - time.monotonic()))
            return status, text.decode(errors="replace").replace("\r\n", "\n")
        text += piece
    raise TimeoutError(f"no end within {COMMAND_SECONDS} s")
