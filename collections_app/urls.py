"""The URLs of the app: the views for people, and the API for scripts."""

from django.urls import URLPattern, URLResolver, include, path, re_path

from collections_app.api import urls as api
from collections_app.views.changes.download import run_changes_file
from collections_app.views.changes.page import run_changes
from collections_app.views.collections.add import collection_add
from collections_app.views.collections.archive import collection_archive, collection_restore
from collections_app.views.collections.connect import collection_connect
from collections_app.views.collections.favorites import collection_favorites
from collections_app.views.collections.list import collections
from collections_app.views.collections.live import collections_live
from collections_app.views.collections.rename import collection_rename
from collections_app.views.download.archive_size import archive_size
from collections_app.views.download.file import result_file
from collections_app.views.download.keep import keep
from collections_app.views.download.latest import latest
from collections_app.views.download.live import live
from collections_app.views.download.page import collection_home, download
from collections_app.views.download.pin_leaving import pin_leaving
from collections_app.views.download.selection import selection, selection_json, selection_zip
from collections_app.views.download.selection_export import selection_export, selection_records
from collections_app.views.health import healthz, readyz
from collections_app.views.metrics import metrics
from collections_app.views.notifications.add import channel_add
from collections_app.views.notifications.change_channel import (
    channel_change,
    channel_remove,
    channel_rotate,
)
from collections_app.views.notifications.channel import channel
from collections_app.views.notifications.page import notifications
from collections_app.views.notifications.rules import rule_add, rule_change, rule_remove
from collections_app.views.notifications.send import channel_resend, channel_switch_on, channel_test
from collections_app.views.notifications.unsubscribe import unsubscribe
from collections_app.views.operations.page import operations
from collections_app.views.overview.live import overview_live
from collections_app.views.overview.night_download import last_night, last_night_workbook, last_night_zip
from collections_app.views.overview.page import overview
from collections_app.views.products.movers import collection_movers
from collections_app.views.products.page import product
from collections_app.views.products.search import products
from collections_app.views.products.watchlist import collection_watchlist
from collections_app.views.profile.keys import key_create, key_revoke
from collections_app.views.profile.page import profile
from collections_app.views.profile.pull_client import pull_client
from collections_app.views.profile.theme import theme_change
from collections_app.views.quality.overrule import run_kind, verdict_overrule
from collections_app.views.quality.page import run_quality
from collections_app.views.run.choose_columns import run_columns
from collections_app.views.run.commands import run_commands
from collections_app.views.run.delete import run_delete
from collections_app.views.run.duplicates import run_duplicates
from collections_app.views.run.export import run_export, run_records
from collections_app.views.run.facts import run_facts
from collections_app.views.run.files import run_all, run_manifest
from collections_app.views.run.histograms import run_histograms, run_values
from collections_app.views.run.live import run_live
from collections_app.views.run.page import run
from collections_app.views.run.pages import run_pages
from collections_app.views.run.pin import run_pin
from collections_app.views.run.record import record
from collections_app.views.run.save_export import run_export_save, run_saved_export
from collections_app.views.run.verify import verify
from collections_app.views.settings.acknowledge import collection_acknowledge
from collections_app.views.settings.currency import collection_currency
from collections_app.views.settings.key import collection_key, collection_key_save
from collections_app.views.settings.owner import collection_owner
from collections_app.views.settings.page import collection_settings
from collections_app.views.settings.pause import collection_pause
from collections_app.views.settings.retention import collection_retention
from collections_app.views.settings.saved_exports import saved_export_delete, saved_export_rename
from collections_app.views.settings.schedule import collection_schedule
from collections_app.views.settings.type import collection_type
from collections_app.views.team.accounts import accounts
from collections_app.views.team.add_member import member_add
from collections_app.views.team.change_account import account_change
from collections_app.views.team.connect_account import account_connect
from collections_app.views.team.disconnect_account import account_disconnect
from collections_app.views.team.member_role import member_role
from collections_app.views.team.members import members
from collections_app.views.team.password_link import member_password_link
from collections_app.views.team.remove_member import member_remove
from collections_app.views.team.settings import team_settings
from collections_app.views.team.switch_team import team_switch
from collections_app.views.upload.page import upload

of_a_run = [
    path("", run, name="run"),
    path("live", run_live, name="run_live"),
    path("changes", run_changes, name="run_changes"),
    path("changes.<slug:file_format>", run_changes_file, name="run_changes_file"),
    path("facts", run_facts, name="run_facts"),
    path("histograms", run_histograms, name="run_histograms"),
    path("values", run_values, name="run_values"),
    path("records/<int:position>", record, name="record"),
    path("records.<slug:file_format>", run_records, name="run_records"),
    path("export", run_export, name="run_export"),
    path("export/save", run_export_save, name="run_export_save"),
    path("exports/<name>", run_saved_export, name="run_saved_export"),
    path("duplicates", run_duplicates, name="run_duplicates"),
    path("columns", run_columns, name="run_columns"),
    path("commands", run_commands, name="run_commands"),
    path("verify", verify, name="verify"),
    path("all.zip", run_all, name="run_all"),
    path("manifest.json", run_manifest, name="run_manifest"),
    path("archive-size", archive_size, name="archive_size"),
    path("pages", run_pages, name="run_pages"),
    path("files/<path:name>", result_file, name="result_file"),
    path("quality", run_quality, name="run_quality"),
    path("quality/overrule", verdict_overrule, name="verdict_overrule"),
    path("quality/kind", run_kind, name="run_kind"),
    path("pin", run_pin, name="run_pin"),
    path("delete", run_delete, name="run_delete"),
]

of_a_collection: list[URLPattern | URLResolver] = [
    path("", collection_home, name="collection"),
    path("rename", collection_rename, name="collection_rename"),
    path("archive", collection_archive, name="collection_archive"),
    path("restore", collection_restore, name="collection_restore"),
    path("settings", collection_settings, name="collection_settings"),
    path("settings/schedule", collection_schedule, name="collection_schedule"),
    path("settings/retention", collection_retention, name="collection_retention"),
    path("settings/owner", collection_owner, name="collection_owner"),
    path("settings/key", collection_key, name="collection_key"),
    path("settings/key/save", collection_key_save, name="collection_key_save"),
    path("settings/exports/<int:export_id>/rename", saved_export_rename, name="saved_export_rename"),
    path("settings/exports/<int:export_id>/delete", saved_export_delete, name="saved_export_delete"),
    path("settings/pause", collection_pause, name="collection_pause"),
    path("settings/acknowledge", collection_acknowledge, name="collection_acknowledge"),
    path("settings/currency", collection_currency, name="collection_currency"),
    path("settings/type", collection_type, name="collection_type"),
    path("download", download, name="download"),
    path("live", live, name="live"),
    path("keep", keep, name="keep"),
    path("pin-leaving", pin_leaving, name="pin_leaving"),
    path("upload", upload, name="upload"),
    path("latest/", latest, name="latest"),
    path("latest/<path:rest>", latest, name="latest_rest"),
    path("selection", selection, name="selection"),
    path("selection.json", selection_json, name="selection_json"),
    path("selection.zip", selection_zip, name="selection_zip"),
    path("selection.<slug:file_format>", selection_records, name="selection_records"),
    path("selection/export", selection_export, name="selection_export"),
    path("movers", collection_movers, name="collection_movers"),
    path("watchlist", collection_watchlist, name="collection_watchlist"),
    # Not <path:key>: a key may contain a line break.
    re_path(r"^products/(?P<key>(?s:.+))$", product, name="product"),
    path("runs/<int:number>/", include(of_a_run)),
]

of_a_channel = [
    path("", channel, name="channel"),
    path("change", channel_change, name="channel_change"),
    path("remove", channel_remove, name="channel_remove"),
    path("rotate", channel_rotate, name="channel_rotate"),
    path("test", channel_test, name="channel_test"),
    path("resend", channel_resend, name="channel_resend"),
    path("switch-on", channel_switch_on, name="channel_switch_on"),
    path("rules/add", rule_add, name="rule_add"),
]

people = [
    path("", overview, name="home"),
    path("overview/live", overview_live, name="overview_live"),
    path("last-night", last_night, name="last_night"),
    path("last-night.zip", last_night_zip, name="last_night_zip"),
    path("last-night.xlsx", last_night_workbook, name="last_night_workbook"),
    path("collections/", collections, name="collections"),
    path("collections/favorites", collection_favorites, name="collection_favorites"),
    path("collections/live", collections_live, name="collections_live"),
    path("collections/add", collection_add, name="collection_add"),
    path("collections/connect", collection_connect, name="collection_connect"),
    path("collections/<int:collection_id>/", include(of_a_collection)),
    path("products/", products, name="products"),
    path("members/", members, name="members"),
    path("members/add", member_add, name="member_add"),
    path("members/<int:membership_id>/role", member_role, name="member_role"),
    path("members/<int:membership_id>/remove", member_remove, name="member_remove"),
    path("members/<int:membership_id>/password-link", member_password_link, name="member_password_link"),
    # Not accounts/, which is where users sign in.
    path("team/accounts/", accounts, name="accounts"),
    path("team/accounts/connect", account_connect, name="account_connect"),
    path("team/accounts/<int:account_id>/change", account_change, name="account_change"),
    path("team/accounts/<int:account_id>/disconnect", account_disconnect, name="account_disconnect"),
    path("team/notifications/", notifications, name="notifications"),
    path("team/notifications/add", channel_add, name="channel_add"),
    path("team/notifications/<int:channel_id>/", include(of_a_channel)),
    path("team/notifications/rules/<int:rule_id>/change", rule_change, name="rule_change"),
    path("team/notifications/rules/<int:rule_id>/remove", rule_remove, name="rule_remove"),
    path("unsubscribe/<token>", unsubscribe, name="unsubscribe"),
    path("team/settings", team_settings, name="team_settings"),
    path("profile/", profile, name="profile"),
    path("profile/theme", theme_change, name="theme_change"),
    path("profile/pull.py", pull_client, name="pull_client"),
    path("profile/keys", key_create, name="key_create"),
    path("keys/<int:key_id>/revoke", key_revoke, name="key_revoke"),
    path("team", team_switch, name="team_switch"),
    path("operations/", operations, name="operations"),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]

# Django tries them in this order. Scripts send the most requests.
urlpatterns = [*api.urlpatterns, *people]
