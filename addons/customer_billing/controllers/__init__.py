from . import aged_report, portal, price_notice, profile
