"""The Operations page: disks, storage, queues, failures, accounts and versions of the site."""
