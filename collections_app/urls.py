"""Every address of the app, in two groups: views for people, the API for scripts."""

from django.urls import include, path

from collections_app.views import health, live, metrics
from collections_app.views.collections import list as collections
from collections_app.views.download import archive_size, keep, latest, selection
from collections_app.views.download import file as result_file
from collections_app.views.download import page as download
from collections_app.views.profile import page as profile
from collections_app.views.profile import pull_client
from collections_app.views.run import delete as run_delete
from collections_app.views.run import export, verify
from collections_app.views.run import files as run_files
from collections_app.views.run import page as run
from collections_app.views.run import pages as run_pages
from collections_app.views.team import accounts, members
from collections_app.views.team import switch_team as team

people = [
    path("", collections.home, name="home"),
    path("collections/", collections.collections, name="collections"),
    path("collections/live", live.collections_live, name="collections_live"),
    path("collections/add", collections.collection_add, name="collection_add"),
    path("collections/connect", accounts.collection_connect, name="collection_connect"),
    path(
        "collections/<int:collection_id>/",
        include(
            [
                path("", download.collection_home, name="collection"),
                path("rename", collections.collection_rename, name="collection_rename"),
                path("archive", collections.collection_archive, name="collection_archive"),
                path("restore", collections.collection_restore, name="collection_restore"),
                path("download", download.download, name="download"),
                path("live", live.live, name="live"),
                path("keep", keep.keep, name="keep"),
                path("latest/", latest.latest, name="latest"),
                path("latest/<path:rest>", latest.latest, name="latest_rest"),
                path("selection", selection.selection, name="selection"),
                path("selection.json", selection.selection_json, name="selection_json"),
                path("selection.zip", selection.selection_zip, name="selection_zip"),
                path("runs/<int:number>/verify", verify.verify, name="verify"),
                path("runs/<int:number>/all.zip", run_files.run_all, name="run_all"),
                path("runs/<int:number>/manifest.json", run_files.run_manifest, name="run_manifest"),
                path("runs/<int:number>/", run.run, name="run"),
                path("runs/<int:number>/live", live.run_live, name="run_live"),
                path("runs/<int:number>/facts", run.run_facts, name="run_facts"),
                path("runs/<int:number>/records/<int:place>", run.record, name="record"),
                path("runs/<int:number>/archive-size", archive_size.archive_size, name="archive_size"),
                path("runs/<int:number>/pages", run_pages.run_pages, name="run_pages"),
                path("runs/<int:number>/export", export.run_export, name="run_export"),
                path("runs/<int:number>/records.<slug:file_format>", export.run_records, name="run_records"),
                path("runs/<int:number>/delete", run_delete.run_delete, name="run_delete"),
                path("runs/<int:number>/files/<path:name>", result_file.result_file, name="result_file"),
            ]
        ),
    ),
    path("members/", members.members, name="members"),
    path("members/add", members.member_add, name="member_add"),
    path("members/<int:membership_id>/role", members.member_role, name="member_role"),
    path("members/<int:membership_id>/remove", members.member_remove, name="member_remove"),
    path(
        "members/<int:membership_id>/password-link", members.member_password_link, name="member_password_link"
    ),
    # Not accounts/: there people sign in.
    path("team/accounts/", accounts.accounts, name="accounts"),
    path("team/accounts/connect", accounts.account_connect, name="account_connect"),
    path("team/accounts/<int:account_id>/change", accounts.account_change, name="account_change"),
    path("team/accounts/<int:account_id>/disconnect", accounts.account_disconnect, name="account_disconnect"),
    path("profile/", profile.profile, name="profile"),
    path("profile/pull.py", pull_client.pull_client, name="pull_client"),
    path("profile/keys", profile.key_create, name="key_create"),
    path("keys/<int:key_id>/revoke", profile.key_revoke, name="key_revoke"),
    path("team", team.team_switch, name="team_switch"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
]

scripts = [
    path("api/", include("collections_app.api.urls")),
]

urlpatterns = [*people, *scripts]
