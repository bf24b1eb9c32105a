"""What runs inside of the jail: a program that serves an application which is WSGI or ASGI."""
