-- Answers how many microseconds a next failure has to wait for, and notes one when it is told to.
-- KEYS: one for each rate. ARGV: 1 to note, 0 to look only; interval and burst of each rate.

local wait = 0

for i = 1, #KEYS do
  local interval, burst = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local latest = now + burst * interval
  local paid = paid_at(KEYS[i], latest)
  if ARGV[1] == '1' then
    keep(KEYS[i], paid + interval)
  end
  wait = math.max(wait, paid + interval - latest)
end

return wait
