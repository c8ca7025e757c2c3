-- What admit.lua and failures.lua share; the text of each follows this one. A rate is one number in Redis: the moment,
-- in microseconds of Redis' own clock, at which everything that was asked for so far is paid for.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function keep(key, paid)
  redis.call('SET', key, paid, 'PX', math.ceil((paid - now) / 1000))
end

-- The stored moment. It is never later than a full burst from now: a later one is from before the clock was set back
-- or the limit was raised. That has to be written down even when the answer is no, or the answer would stay no.
local function paid_at(key, latest)
  local paid = math.max(tonumber(redis.call('GET', key) or now), now)
  if paid > latest then
    paid = latest
    keep(key, paid)
  end
  return paid
end
