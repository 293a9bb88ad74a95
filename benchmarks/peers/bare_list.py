"""A customer's list of transactions, as bare as possible: FastAPI, asyncpg, one query, the same columns.

Without authentication, rate limit, cursor, cache and compression, it shows the best that the machine can do.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from fastapi import FastAPI
from fastapi.responses import JSONResponse

_LIST = """
    SELECT id, merchant, amount::float8, date::text, category, description, round_up::float8, investable::float8,
           total_debit::float8, fee::float8, status, ticker, shares::float8, price_per_share::float8
    FROM transactions WHERE user_id = $1 ORDER BY transactions.date DESC, transactions.id DESC LIMIT $2
"""
_pool: "asyncpg.Pool[Any] | None" = None


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    global _pool  # noqa: PLW0603  # one pool a process
    _pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10, max_size=20)
    yield
    await _pool.close()


app = FastAPI(lifespan=_lifespan)


@app.get("/list/{user_id}")
async def rows(user_id: int, limit: int = 50) -> JSONResponse:
    """Return the newest rows of a customer."""
    assert _pool is not None
    records = await _pool.fetch(_LIST, user_id, limit)
    return JSONResponse({"data": [dict(row) for row in records]})
