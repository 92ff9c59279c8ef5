"""Writes down how a sync is started every night on this machine: by cron, by a systemd timer, or by Dagster.

Only makes text; nothing is installed. Paths are absolute and quoted, because neither cron nor systemd has the shell's
working directory or its search path.
"""

import shlex
from dataclasses import dataclass
from datetime import time
from pathlib import Path


@dataclass(frozen=True)
class NightlySync:
    """A sync that is to run every night.

    Attributes:
        at: Local time.
        folder: Working directory, in which ``.env`` lies.
        program: The command ``apex``, as absolute path and arguments.
        source: The source folder.
        log: File that receives the output of cron.
    """

    at: time
    folder: Path
    program: tuple[str, ...]
    source: Path
    log: Path

    @property
    def cron(self) -> str:
        """A line for ``crontab -e``. In crontab a percent sign ends the command, unless it has a backslash."""
        command = shlex.join([*self.program, "sync", str(self.source)])
        line = f"cd {shlex.quote(str(self.folder))} && {command} >> {shlex.quote(str(self.log))} 2>&1"
        return f"{self.at.minute} {self.at.hour} * * * " + line.replace("%", "\\%")

    @property
    def service(self) -> str:
        """The text of ``~/.config/systemd/user/apex-sync.service``."""
        command = " ".join(map(_systemd_quoted, [*self.program, "sync", str(self.source)]))
        return f"""\
[Unit]
Description=Sync the race-data lake

[Service]
Type=oneshot
WorkingDirectory={_systemd_escaped(str(self.folder))}
ExecStart={command}
"""

    @property
    def timer(self) -> str:
        """The text of ``~/.config/systemd/user/apex-sync.timer``; a night that the machine slept is made up for."""
        return f"""\
[Unit]
Description=Sync the race-data lake every night

[Timer]
OnCalendar=*-*-* {self.at:%H:%M}:00
Persistent=true

[Install]
WantedBy=timers.target
"""


def _systemd_quoted(word: str) -> str:
    """Return a word of a command line for systemd, which knows double quotes, backslashes, % and $."""
    text = _systemd_escaped(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{text}"'


def _systemd_escaped(text: str) -> str:
    return text.replace("%", "%%")
