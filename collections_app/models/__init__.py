"""The tables and their queries, one file per aggregate."""

from collections_app.models.accounts import Account, NotConnected
from collections_app.models.acknowledgments import Acknowledgment
from collections_app.models.blocks import Block
from collections_app.models.channels import (
    Channel,
    ChannelKind,
    Mute,
    Notification,
    NotificationState,
    Rule,
    SendingAttempt,
)
from collections_app.models.collections import Collection, Kind
from collections_app.models.comparisons import Comparison, ComparisonState
from collections_app.models.events import ActorKind, Event, EventKind, EventSequence
from collections_app.models.exports import Export, ExportState, Layout
from collections_app.models.open_problems import OpenProblem
from collections_app.models.outbox import FailedMail, OutgoingMail
from collections_app.models.preferences import CollectionPreferences, Preferences, Theme
from collections_app.models.retention import Retention
from collections_app.models.run_status import State, Status
from collections_app.models.runs import KINDS_OF_RECORDS, FileKind, NotDownloadable, ResultFile, Run
from collections_app.models.saved_exports import SavedExport
from collections_app.models.schedules import Schedule
from collections_app.models.slices import Slice, SliceState
from collections_app.models.storage_use import (
    CollectionStorage,
    DiskSample,
    StorageKind,
    StorageUse,
    WorkerSeen,
)
from collections_app.models.teams import ApiKey, LastOwner, Membership, Role, Team, User
from collections_app.models.tracking import TrackingSettings
from collections_app.models.verdicts import Overrule, RunCoverage, Verdict, VerdictLevel
from collections_app.models.verifications import Verification
from collections_app.models.watchlists import WatchedProduct

__all__ = [
    "KINDS_OF_RECORDS",
    "Account",
    "Acknowledgment",
    "ActorKind",
    "ApiKey",
    "Block",
    "Channel",
    "ChannelKind",
    "Collection",
    "CollectionPreferences",
    "CollectionStorage",
    "Comparison",
    "ComparisonState",
    "DiskSample",
    "Event",
    "EventKind",
    "EventSequence",
    "Export",
    "ExportState",
    "FailedMail",
    "FileKind",
    "Kind",
    "LastOwner",
    "Layout",
    "Membership",
    "Mute",
    "NotConnected",
    "NotDownloadable",
    "Notification",
    "NotificationState",
    "OpenProblem",
    "OutgoingMail",
    "Overrule",
    "Preferences",
    "ResultFile",
    "Retention",
    "Role",
    "Rule",
    "Run",
    "RunCoverage",
    "SavedExport",
    "Schedule",
    "SendingAttempt",
    "Slice",
    "SliceState",
    "State",
    "Status",
    "StorageKind",
    "StorageUse",
    "Team",
    "Theme",
    "TrackingSettings",
    "User",
    "Verdict",
    "VerdictLevel",
    "Verification",
    "WatchedProduct",
    "WorkerSeen",
]
