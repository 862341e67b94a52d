"""What one partition of clients is told: a plain copy of the pipeline file's values."""

from __future__ import annotations

from dataclasses import dataclass, field

from sendtide.events.errors import ConfigurationError
from sendtide.models.propensity import TARGETS
from sendtide.models.propensity_bank import PropensitySettings

__all__ = ["ChallengerSettings", "ClientSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengerSettings:
    """A River model that learns beside the built-in one. clients: None means all.

    promote_after: rows from which its promotion may be advised; None means never.
    """

    name: str
    classes: str
    params: tuple[tuple[str, bool | int | float | str], ...] = ()
    clients: frozenset[str] | None = None
    promote_after: int | None = None

    def takes(self, client: str) -> bool:
        """Whether it learns from this client."""
        return self.clients is None or client in self.clients


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Defaults are the pipeline file's.

    targets: propensities learned, always with "open". propensity: how.
    reference_rows: rows that make a series' reference. psi_floor, psi_critical: effects at which an
    alarm may fire, and is critical. alpha: false discovery rate over one window's series.
    minimum_count: rows a window needs to be judged. detectors: of "psi" and "adwin" those at work.
    clients: those with models; None means all.
    control_share, control_salt: by which the control group is drawn.
    """

    targets: tuple[str, ...] = TARGETS
    propensity: PropensitySettings = field(default_factory=PropensitySettings)
    prior_strength: float = 8.0
    window_ms: int = 60_000
    window_lateness_ms: int = 30_000
    reference_rows: int = 10_000
    psi_floor: float = 0.1
    psi_critical: float = 0.25
    alpha: float = 0.01
    dwell_windows: int = 3
    minimum_count: int = 200
    adwin_delta: float = 0.002
    send_time_model: str = "send-time"
    propensity_model: str = "propensity"
    detectors: frozenset[str] = frozenset({"psi", "adwin"})
    clients: frozenset[str] | None = None
    challengers: tuple[ChallengerSettings, ...] = ()
    control_share: float = 0.05
    control_salt: str = ""

    def __post_init__(self) -> None:
        if "open" not in self.targets:
            msg = f"targets {self.targets} lack open, which drift and challengers rest on; add it"
            raise ConfigurationError(msg)

    def model_of(self, target: str) -> str:
        """Name under which one propensity is shown: "open-propensity"."""
        return f"{target}-{self.propensity_model}"
