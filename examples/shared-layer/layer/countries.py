import json
import os

with open(os.path.join(os.path.dirname(__file__), "countries.json")) as file:
    NAMES = json.load(file)
