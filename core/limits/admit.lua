-- Decides over every rate and the lease at once, and writes for all of them or for none.
-- KEYS: one for each rate, then the leases if one is asked for.
-- ARGV: number of rates; interval, burst, cost of each; then lease id, cap, duration and longest duration.

local rates = tonumber(ARGV[1])
local paid_next = {}
local binding, remaining, reset, wait = -1, 0, 0, 0

for i = 1, rates do
  local interval, burst, cost = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local latest = now + burst * interval
  local paid = paid_at(KEYS[i], latest)
  paid_next[i] = paid + cost * interval
  local late = paid_next[i] - latest
  if late > 0 then
    if late > wait then
      binding, remaining, reset, wait = i - 1, math.floor((latest - paid) / interval), late, late
    end
  elseif wait == 0 then
    local left = math.floor(-late / interval)
    local more = (left + 1) * interval + late
    if binding < 0 or left < remaining or (left == remaining and more > reset) then
      binding, remaining, reset = i - 1, left, more
    end
  end
end

local leases = KEYS[rates + 1]
local first = 3 * rates + 2
local id, cap, lasts, longest = ARGV[first], tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2]), ARGV[first + 3]
if leases then
  redis.call('ZREMRANGEBYSCORE', leases, '-inf', now)
  redis.call('ZREMRANGEBYSCORE', leases, now + longest, '+inf')
  local held = redis.call('ZCARD', leases)
  if held >= cap and not redis.call('ZSCORE', leases, id) then
    local frees = redis.call('ZRANGE', leases, held - cap, held - cap, 'WITHSCORES')
    local late = frees[2] - now
    if late > wait then
      binding, remaining, reset, wait = rates, 0, late, late
    end
  end
end

if wait == 0 then
  for i = 1, rates do
    keep(KEYS[i], paid_next[i])
  end
  if leases then
    redis.call('ZADD', leases, now + lasts, id)
    local last = redis.call('ZRANGE', leases, -1, -1, 'WITHSCORES')
    redis.call('PEXPIRE', leases, math.ceil((last[2] - now) / 1000))
  end
end

return {binding, remaining, reset, wait}
