"""Snakemake's jobscript: what it says of itself, and what is submitted in its place.

In: the script that Snakemake writes into its temporary folder. Out: its :class:`Job`, and a pair of
scripts that stay: Snakemake's own, and the one around it that the scheduler starts.

The one around it sets the environment that the scheduler does not pass on, hands a request to stop (TERM) to
everything below it exactly once, waits for the end, and leaves the exit status in a file of its own:
the first witness of how the job ended.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dawnchorus.errors import DawnChorusError

PROPERTIES = re.compile(r"^# properties = (\{.*\})\s*$", flags=re.MULTILINE)
WAIT_LIST = re.compile(r"--wait-for-files-file ('[^']+'|\S+)")
UNSUITED = re.compile(r"[^A-Za-z0-9_.-]+")
LONGEST_NAME = 40


@dataclass(frozen=True)
class Job:
    """What a jobscript says of its job.

    Attributes
    ----------
    name : str
        Rule with its wildcards, or name of the group.
    packed : bool
        Whether it is a group: many jobs in one.
    resources : dict
        As Snakemake computed them; summed over the members of a group.
    makes : tuple of str
        Its outputs, sorted. Snakemake leaves them out beyond a hundred; then its targets and the
        configuration they are read with.
    params : str or None
        Fingerprint of a single job's parameters; a group's are not in its script.
    python : Path
        The interpreter that the job runs with.
    """

    name: str
    packed: bool
    resources: dict[str, Any]
    makes: tuple[str, ...]
    params: str | None
    python: Path

    @property
    def key(self) -> str:
        """The same for every job that makes the same."""
        return digest(self.makes)


def digest(content: Any) -> str:
    """Return 40 hexadecimal digits of anything that JSON can say."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def read_job(script: Path) -> Job:
    """Read a jobscript.

    Raises
    ------
    DawnChorusError
        If it is not one of Snakemake's.
    """
    try:
        text = script.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError):
        raise DawnChorusError("is no jobscript", script) from None
    found = PROPERTIES.search(text)
    try:
        properties = json.loads(found[1]) if found else None
    except ValueError:
        properties = None
    if not isinstance(properties, dict):
        raise DawnChorusError("has no line '# properties = {...}'", script, "give a jobscript")
    packed = properties.get("type") == "group"
    words = _words(text)
    name = str(properties.get("groupid" if packed else "rule") or "job")
    wildcards = properties.get("wildcards") or {}
    made = properties.get("output")
    params = properties.get("params")
    return Job(
        name=fit_for_a_list(".".join([name, *map(str, wildcards.values())])),
        packed=packed,
        resources=dict(properties.get("resources") or {}),
        makes=tuple(sorted(made)) if made else _targets(words),
        params=digest(params) if params is not None else None,
        python=_interpreter(words),
    )


def fit_for_a_list(name: str) -> str:
    """Return a name that every scheduler takes: letters, digits and ``_.-``, a letter first."""
    suited = UNSUITED.sub("_", name)[:LONGEST_NAME]
    return suited if suited[:1].isalpha() else f"j{suited}"[:LONGEST_NAME]


def _words(text: str) -> list[str]:
    """The words of the script's command."""
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def _targets(words: list[str]) -> tuple[str, ...]:
    """What a job is told to make, where its outputs are too many to be listed."""
    told: list[str] = []
    for option in ("--target-jobs", "--configfiles", "--config"):
        if option in words:
            values = words[words.index(option) + 1 :]
            ends = [number for number, word in enumerate(values) if word.startswith("--")]
            told += [f"{option} {word}" for word in values[: ends[0] if ends else None]]
    return tuple(sorted(told))


def _interpreter(words: list[str]) -> Path:
    """The Python that runs Snakemake inside the job; ours if the script does not say."""
    for before, word, after in zip(words, words[1:], words[2:], strict=False):
        if word == "-m" and after == "snakemake" and Path(before).is_absolute():
            return Path(before)
    return Path(sys.executable)


def carried(patterns: Iterable[str], environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables of our own environment that jobs shall have too."""
    return {
        name: environment[name]
        for name in sorted(environment)
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }


def keep_payload(script: Path, kept: Path) -> None:
    """Copy a jobscript, and the list of files it waits for, to where they outlive Snakemake.

    Snakemake's temporary folder goes with its main process; a job that is queued then must not wait for it.
    """
    text = script.read_text(encoding="utf-8")
    listed = WAIT_LIST.search(text)
    temporary = str(script.parent)
    if listed:
        wait_list = Path(shlex.split(listed[1])[0])
        awaited = wait_list.read_text(encoding="utf-8").splitlines()
        copy = kept.with_suffix(".waits")
        copy.write_text("".join(f"{name}\n" for name in awaited if name != temporary), "utf-8")
        text = text.replace(listed[1], shlex.quote(str(copy)))
    before, option, after = text.partition("--wait-for-files ")
    if option:
        for spelled in (f"'{temporary}'", shlex.quote(temporary)):
            after = re.sub(rf"(?<!\S){re.escape(spelled)}(?!\S) ?", "", after)
        text = before + option + after
    kept.write_text(text, encoding="utf-8")
    kept.chmod(0o755)


WRAPPER = """\
#!/bin/bash
# Dawn Chorus submitted this: {name}. It runs {payload} and leaves its exit status
# in {logs}/<id of the job>.exit
job=${{{job_variable}:?this is for {scheduler} to start}}
logs={logs}
token={token}

leave() {{  # whole or not at all: a reader never sees half of it
    printf '%s %s %s\\n' "$1" "$token" "$asked" > "$logs/.$job.exit.partial" \\
        && mv -f "$logs/.$job.exit.partial" "$logs/$job.exit"
}}

# An interrupted submission may leave a job behind that nobody waits for. One that was recorded runs.
recorded() {{ grep -qsF "\\"$token\\"" "$logs/$job.json"; }}
for ((second = 0; second < {patience}; second++)); do
    recorded && break
    sleep 1
done
if ! recorded; then
    echo "nobody recorded this job ($job, $token): its submission was interrupted; it does nothing" >&2
    exit 75
fi

{exports}
cd {folder} || {{ asked=-; leave 1; exit 1; }}

# A process group of its own, so that a request to stop reaches each process below exactly once, whether
# the scheduler sends it to this script alone or to all.
asked=-
child=
stop() {{
    asked=$1
    [ -n "$child" ] && kill -"$1" -- "-$child" 2> /dev/null
}}
signals="TERM INT HUP USR1 USR2 XCPU"
for signal in $signals; do
    # shellcheck disable=SC2064
    trap "stop $signal" "$signal"
done
set -m
# The shell of the jobscript outlives the request, and so hears how its command took it.
bash -c 'payload=$1; shift; trap : "$@"; . "$payload"' {token} {payload} $signals < /dev/null &
child=$!
set +m
while wait "$child"; kill -0 "$child" 2> /dev/null; do :; done  # a signal ends a wait, not the job
wait "$child"
code=$?
# A shell in between may have died of the request while a training below it still saves its state.
while [ "$asked" != - ] && kill -0 -- "-$child" 2> /dev/null; do sleep 0.2; done
leave "$code"
exit "$code"
"""


def write_wrapper(
    path: Path,
    *,
    job: Job,
    payload: Path,
    logs: Path,
    token: str,
    scheduler: str,
    job_variable: str,
    environment: Mapping[str, str],
    patience_s: int,
) -> None:
    """Write the script that the scheduler starts.

    Parameters
    ----------
    path : Path
        Where to.
    job : Job
    payload : Path
        The kept jobscript.
    logs : Path
        Where records and exit files lie.
    token : str
        Unique; a job that is not recorded under it does nothing.
    scheduler, job_variable : str
        Its name, and the variable in which a job finds its id.
    environment : mapping of str to str
        Set in the job.
    patience_s : int
        How long the job waits for its record.
    """
    login = os.pathsep.join(dict.fromkeys(os.environ.get("PATH", "").split(os.pathsep)))
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    # The interpreter's own commands first, then what the node has, then what the login had.
    exports.append(
        f'export PATH={shlex.quote(str(job.python.parent))}:"$PATH":{shlex.quote(login)}'
    )
    text = WRAPPER.format(
        name=job.name,
        payload=shlex.quote(str(payload)),
        logs=shlex.quote(str(logs)),
        token=shlex.quote(token),
        scheduler=scheduler,
        job_variable=job_variable,
        exports="\n".join(exports),
        folder=shlex.quote(str(Path.cwd())),
        patience=patience_s,
    )
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
