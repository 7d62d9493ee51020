"""One run's settings, typed by group, and its identity."""

from harness.settings.groups import Adaptation, Measure, TaskSettings, TrainingSettings
from harness.settings.identity import environment_identity, redacted_overrides
from harness.settings.run_settings import Settings, task_folder

__all__ = [
    "Adaptation",
    "Measure",
    "Settings",
    "TaskSettings",
    "TrainingSettings",
    "environment_identity",
    "redacted_overrides",
    "task_folder",
]
