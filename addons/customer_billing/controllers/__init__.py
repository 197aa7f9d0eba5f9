from . import aged_report, portal
