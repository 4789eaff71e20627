"""Make http.client print all that it sends, as in a debugging session, in every process of Airflow."""

import http.client

http.client.HTTPConnection.debuglevel = 1
