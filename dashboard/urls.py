"""The URLs of the app, followed by those of sign-in and of the operators' admin."""

from allauth.account import views as account
from django.contrib import admin
from django.urls import include, path, re_path

from collections_app import urls
from collections_app.people.access import public
from collections_app.views.sign_in import sign_in
from collections_app.views.sign_in.password_reset import password_reset

admin.site.site_header = admin.site.site_title = "Results: operators"

# The part of allauth that we use. There is no sign-up and no change of the email address.
accounts = [
    path("login/", sign_in.sign_in, name="account_login"),
    path("logout/", sign_in.sign_out, name="account_logout"),
    path("inactive/", public(account.account_inactive), name="account_inactive"),
    path("password/change/", sign_in.password_change, name="account_change_password"),
    path("password/reset/", password_reset, name="account_reset_password"),
    path("password/reset/done/", public(account.password_reset_done), name="account_reset_password_done"),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        sign_in.password_set,
        name="account_reset_password_from_key",
    ),
]

urlpatterns = [
    *urls.urlpatterns,
    path("accounts/", include(accounts)),
    path("admin/", admin.site.urls),
]

handler400 = "collections_app.views.errors.bad_request"
handler403 = "collections_app.views.errors.forbidden"
handler404 = "collections_app.views.errors.not_found"
handler500 = "collections_app.views.errors.server_error"
