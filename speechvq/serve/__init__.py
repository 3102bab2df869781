"""A web page on this computer that encodes, converts and draws a recording: `speechvq serve`.

studio: recordings and what the model computes of them.
guard: refuses requests of other web pages.
live: conversion while the user speaks.
app: the addresses of the page and of its data.
server: the socket, and the server on it.
page: the page itself: HTML, CSS and JavaScript without anything from elsewhere.
"""
