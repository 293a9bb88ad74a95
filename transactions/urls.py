"""Pages for customers without a front end."""

from django.urls import path

from transactions.views import email_link_view, invitation_view

urlpatterns = [
    path("email/", email_link_view, name="account-email-link"),
    path("invitation/", invitation_view, name="account-invitation"),
]
