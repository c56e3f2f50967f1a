"""The log lines of the code."""

from .values import plain, to_json

_LEVELS = {"debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "critical": 50}


class Logger:
    """One line an entry, on stdout: `> TIME [level] message {"key": value}`."""

    def __init__(self, level="info"):
        self.set_logger_level(level)

    def set_logger_level(self, level):
        """Leaves out what is below this level."""
        self.level = _LEVELS.get(str(level).lower(), 20)

    def _log(self, level, message, args, more):
        if _LEVELS[level] < self.level:
            return
        import time

        message = str(message)
        if args:
            try:
                message %= args
            except (TypeError, ValueError):
                message = " ".join([message, *map(str, args)])
        now = time.time()
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        tail = " " + to_json(plain(more)) if more else ""
        print(f"> {stamp},{int(now % 1 * 1000):03d} [{level}] {message}{tail}", flush=True)

    def debug(self, message, *args, **more):
        """Logs at this level."""
        self._log("debug", message, args, more)

    def info(self, message, *args, **more):
        """Logs at this level."""
        self._log("info", message, args, more)

    def warning(self, message, *args, **more):
        """Logs at this level."""
        self._log("warning", message, args, more)

    warn = warning

    def error(self, message, *args, **more):
        """Logs at this level."""
        self._log("error", message, args, more)

    def exception(self, message, *args, **more):
        """Logs an error, and the exception that is being handled."""
        import traceback

        self._log("error", message, args, more)
        print(traceback.format_exc(), flush=True)
