"""Make http.client print all that it sends, in every process of Airflow; for one who hunts a bug."""

import http.client

http.client.HTTPConnection.debuglevel = 1
