-- One row: the user, totals of the last 90 days, and a list of the last 14 days.
with seen as (
    select at::date as day, kind, cents, at
    from events
    where user_id = $1 and at > now() - interval '90 days' and at <= now()
)
select u.id, u.name, u.plan,
    count(seen) filter (where kind = 'visit') as visits,
    count(seen) filter (where kind = 'search') as searches,
    count(seen) filter (where kind = 'order') as orders,
    round(coalesce(sum(cents), 0) / 100.0, 2) as spent,
    max(at) as last_seen,
    (select coalesce(json_agg(d order by d.day), '[]')
     from (select day, count(*) as events
           from seen where day > current_date - 14 group by day) as d) as days
from users u left join seen on true
where u.id = $1
group by u.id;
