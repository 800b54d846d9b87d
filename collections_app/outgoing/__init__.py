"""Requests to URLs that people have entered, and the messages for webhooks, chats and mail."""
