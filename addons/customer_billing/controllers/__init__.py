from . import aged_report, portal, portal_home, portal_usage, price_notice, profile
