"""What the plain console prints of the sample runs."""

from support import sample_events as sample

START = """\
sales: Which region grew fastest in 2025, and why?
plan 1:
  - Query
  - Write
round 1/20: progress (We have just begun.) → Analyst: Sum the sales by region.
── Analyst ──
  Let me look.
"""
QUERY = 'tool: db.query(sql="SELECT region, sum(amount) FROM sales") (0.02 s)'
GOLDEN = {
    sample.satisfied: f"""\
{START}{QUERY} → north 12 south 9
  North grew
  fastest.
manager: reply 1 is no progress ledger: the reply is not JSON
round 2/20: no progress (Nothing new came.), in a loop, stall 1/3, 2 replies, repaired → Writer: Write it up.
Writer: attempt 1 failed: 429 Too Many Requests; trying again in 2 s
── Writer ──
Writer: The reply was empty.
plan 2, because 1 round in a row stalled:
  - - Query
  - - Write
  + - Ask why
round 3/20: progress → Analyst: Find out why.
── Analyst ──
tool: db.query(sql="SELECT why") failed (1.5 s): no such column: why
tool: db.drop() denied: not one of the listed tools
  New stores.
after 3 rounds: satisfied (Both parts are answered.)
run satisfied: 3 rounds, 1 stall, 1 reset, at least 728 tokens, 42 s
""",
    sample.limited: f"""\
{START.replace("1/20", "1/1")}{QUERY} → north 12 south 9
  North grew
  fastest.
limit max_rounds: 1 round was used; the limit is 1
run limited (max_rounds): 1 round, 0 stalls, 0 resets, at least 550 tokens, 1 min 15 s
""",
    sample.failed_in_the_plan: """\
sales: Which region grew fastest in 2025, and why?
manager: the model call failed: service 'default': 401 Unauthorized; check OPENAI_API_KEY
run failed: 0 rounds, 0 stalls, 0 resets, tokens unknown, 0.1 s
""",
    sample.cancelled: START.replace(
        "plan 1", "scripted replies: no model is called for manager, Analyst, Writer\nplan 1"
    )
    + f"{QUERY[:-9]} did not finish\nrun cancelled: 1 round, 0 stalls, 0 resets, at least 550 tokens, 3 s\n",
}
