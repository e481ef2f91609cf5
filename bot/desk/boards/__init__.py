"""The supervisors' pages, one board a module."""

from bot.desk.boards import audit, people, promises, reports, rules, settings

__all__ = ["audit", "people", "promises", "reports", "rules", "settings"]
