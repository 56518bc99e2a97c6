-- A row per day and group, the group being the users' plan or country.
select at::date as day,
    case $1::text when 'country' then u.country else u.plan end as "group",
    count(distinct user_id) as users,
    count(*) as events,
    count(*) filter (where kind = 'order') as orders,
    round(sum(cents) / 100.0, 2) as revenue
from events join users u on u.id = user_id
where at >= current_date - $2::int + 1 and at <= now()
group by 1, 2
order by 1, 2;
