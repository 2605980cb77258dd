"""Asks one OpenAI-compatible server over HTTP: how many requests at once, what is asked again, and when.

The retries are ours and the only ones, so that it is known how often a request may have been billed.
"""

import asyncio
import json
import math
import random
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any

import httpx

from cluster.errors import EngineDiedError, ServerFailedError, ServerRefusedError
from cluster.texts import shortened

_CONNECT_S = 15.0
_KEEP_S = 2.0  # below the 5 s after which uvicorn closes an unused connection, while we may be writing into it
_FIRST_S, _LONGEST_S = 0.5, 30.0  # waits between attempts, doubled each time
_SAID_AFTER_S, _SAID_EVERY_S = 3.0, 300.0
_BUSY = {408, 409, 425, 429}  # these and 5xx are asked again
_LONGEST = 300
Tell = Callable[[str], object]


class PassingError(Exception):
    """An attempt failed in a way that may pass. The message says how, without the URL."""

    def __init__(self, words: str, wait_s: float | None = None, *, hung: bool = False) -> None:
        super().__init__(words)
        self.wait_s, self.hung = wait_s, hung


class ServerClient:
    """One server and its connections. At most `concurrency` requests are in flight, those that wait to be asked again
    among them, so that a busy server is not asked by others in their place.

    A request is tried again for `patience_s` from its first failure, and a single attempt may take `answer_s`.
    """

    def __init__(
        self, url: str, key: str | None, *, concurrency: int, patience_s: float, answer_s: float, tell: Tell
    ) -> None:
        self.url, self._key, self._tell = url, key, tell
        self._patience_s, self._answer_s = patience_s, answer_s
        self._slots = asyncio.Semaphore(concurrency)
        self._answered = -math.inf  # when the server last answered, if only with a refusal
        self._told = -math.inf  # when the user was last told that it does not
        self._chance = random.Random()
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(None, connect=_CONNECT_S),
            limits=httpx.Limits(
                max_connections=concurrency, max_keepalive_connections=concurrency, keepalive_expiry=_KEEP_S
            ),
        )

    async def ask(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        patience_s: float | None = None,
        at_root: bool = False,
    ) -> dict[str, Any]:
        """Return the JSON object that the server answers below its URL: to a GET, or with a body to a POST.

        Raises ServerRefusedError for a 4xx that would come again. When patience ends: ServerFailedError if the server
        has answered others meanwhile, EngineDiedError if it has answered nobody.
        """
        url = (self.url.removesuffix("/v1") if at_root else self.url) + path
        async with self._slots:
            began, left_s = math.inf, self._patience_s if patience_s is None else patience_s
            for attempt in count():
                sent = time.monotonic()
                try:
                    answer = await self._send(url, body)
                except PassingError as trouble:
                    now = time.monotonic()
                    began = min(began, sent if trouble.hung else now)
                    if trouble.hung or now - began >= left_s:
                        raise self._given_up(trouble, began) from trouble
                    # Once more at the end: until then it shows whether the server answers others.
                    wait_s = min(self._wait_s(attempt, trouble), began + left_s - now)
                    self._say(trouble, began, wait_s)
                    await asyncio.sleep(wait_s)
                else:
                    self._heard()
                    return answer
        raise AssertionError("unreachable")

    async def close(self) -> None:
        await self._http.aclose()

    async def _send(self, url: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        """Make one attempt. Raises PassingError, ServerRefusedError."""
        try:
            async with asyncio.timeout(self._answer_s):
                answer = await self._http.request("GET" if body is None else "POST", url, json=body)
        except TimeoutError as error:
            raise PassingError(f"no answer within {self._answer_s:.0f} s", hung=True) from error
        except httpx.RequestError as error:
            raise PassingError(self._clean(str(error) or type(error).__name__)) from error
        try:
            said = answer.json()
        except ValueError:
            said = None
        if answer.is_success:
            if isinstance(said, dict) and not said.get("error"):
                return said
            raise PassingError(f"an answer that is none: {self._words(answer, said)}")
        words = self._words(answer, said)
        if answer.status_code in _BUSY or answer.status_code >= 500:
            raise PassingError(words, _asked_to_wait(answer.headers.get("Retry-After", "")))
        self._heard()
        hint = "; give a key by --api_key_env" if answer.status_code == 401 and not self._key else ""
        raise ServerRefusedError(f"{self.url}: {words}{hint}", answer.status_code)

    def _words(self, answer: httpx.Response, said: Any) -> str:
        """Return status and message of an answer, on one line."""
        told = said.get("error") or said if isinstance(said, dict) else answer.text
        if isinstance(told, dict):
            told = told.get("message") or told.get("detail") or told
        message = told if isinstance(told, str) else json.dumps(told)
        status = f"{answer.status_code} {answer.reason_phrase}".strip()
        return self._clean(": ".join(filter(None, (status, " ".join(message.split())))))

    def _clean(self, words: str) -> str:
        """Shorten words from outside, and leave out the key, which some servers repeat."""
        return shortened(words.replace(self._key, "(the key)") if self._key else words, _LONGEST)

    def _wait_s(self, attempt: int, trouble: PassingError) -> float:
        """Return how long to wait: what the server asks for, if anything, else twice as long each time; with jitter."""
        if trouble.wait_s:
            return trouble.wait_s + self._chance.uniform(0, 0.1 * trouble.wait_s)
        return min(_LONGEST_S, _FIRST_S * 2.0 ** min(attempt, 16)) * self._chance.uniform(0.5, 1)

    def _given_up(self, trouble: PassingError, began: float) -> Exception:
        words = f"{self.url}: {trouble}"
        if trouble.wait_s is not None:
            words += f", and wants to be asked again in {trouble.wait_s:.0f} s"
        elif not trouble.hung and (lasted_s := time.monotonic() - began) >= 1:
            words += f", for {lasted_s:.0f} s"
        return ServerFailedError(words) if self._answered > began else EngineDiedError(words)

    def _say(self, trouble: PassingError, began: float, wait_s: float) -> None:
        """Tell the user, now and then, that the server has answered nobody since this trouble began."""
        now = time.monotonic()
        away_s = now - max(began, self._answered)
        if self._answered < began and max(away_s, wait_s) >= _SAID_AFTER_S and now - self._told >= _SAID_EVERY_S:
            self._told = now
            self._tell(f"waiting for {self.url}: {trouble}")

    def _heard(self) -> None:
        self._answered = time.monotonic()
        if self._told > -math.inf:
            self._told = -math.inf
            self._tell(f"{self.url} answers again")


def _asked_to_wait(text: str) -> float | None:
    """Return the seconds that a Retry-After header asks for, written as a number or as a date; None if neither."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
