"""What a person reads after a backtest: a table in the terminal, and `report.html`, one page that needs nothing else.

I know what scores.json holds and what was broken down; nothing of how forecasts are made.
"""

from stream_engine.backtest.report.found import Found
from stream_engine.backtest.report.page import write_report
from stream_engine.backtest.report.terminal import ablation_table, remarks, score_table

__all__ = ["Found", "ablation_table", "remarks", "score_table", "write_report"]
