-- SPDX-License-Identifier: BSD-2-Clause
-- Sample data for the quickstart: a web shop with 100,000 users and about a
-- million events of the last 90 days. The same day and the same PostgreSQL
-- release always give the same rows.
--
-- Events go on two weeks into the future, at the same rate. The queries look no
-- further than now(), so the shop is "open": totals grow while you watch, and a
-- response that is refreshed has something new in it.

\set ON_ERROR_STOP on
set client_min_messages = warning;
set timezone = 'UTC';
set synchronous_commit = off;
set maintenance_work_mem = '256MB';
set work_mem = '256MB';

begin;

create table users (
    id        int  not null,
    name      text not null,
    email     text not null,
    country   text not null,
    plan      text not null,
    signed_up date not null
);

create table events (
    id      bigint      not null generated always as identity,
    at      timestamptz not null,
    user_id int         not null,
    kind    text        not null, -- visit, search, cart or order
    cents   int         not null  -- of an order; 0 otherwise
);

select setseed(0.42) \g /dev/null

-- Users are numbered in the order in which they signed up, over three years and
-- more and more of them a day; the last one 91 days ago.
insert into users
select id, first || ' ' || last,
    lower(translate(first || '.' || last, 'áäåçéíñóöøüćłńśźżıŁ''', 'aaaceinooouclnszziL'))
        || '.' || id || '@example.net',
    country, plan, signed_up
from (
    select id,
        (array['Ada', 'Amina', 'Anna', 'Bruno', 'Carlos', 'Chen', 'Chloé', 'Dilara', 'Emil',
            'Emma', 'Fatima', 'Felix', 'Grace', 'Hana', 'Ines', 'Ivan', 'Jakub', 'Jonas',
            'José', 'Julia', 'Kenji', 'Lars', 'Laura', 'Léa', 'Liam', 'Łukasz', 'Maja', 'Maria',
            'Mateo', 'Mei', 'Mia', 'Noah', 'Nora', 'Olga', 'Oliver', 'Priya', 'Rafael', 'Sofia',
            'Tomás', 'Yusuf'])[1 + floor(40 * random())] as first,
        (array['Andersson', 'Bauer', 'Brown', 'Chen', 'Costa', 'Dubois', 'Eriksen', 'Fernández',
            'Fischer', 'García', 'Hansen', 'Ivanova', 'Jansen', 'Jones', 'Kaya', 'Khan', 'Kim',
            'Kowalska', 'Laurent', 'López', 'Meyer', 'Moreau', 'Müller', 'Nguyen', 'Novák',
            'O''Brien', 'Okafor', 'Patel', 'Popescu', 'Rossi', 'Sato', 'Schmidt', 'Silva',
            'Smith', 'Sørensen', 'Tanaka', 'Virtanen', 'Weber', 'Wiśniewski',
            'Yılmaz'])[1 + floor(40 * random())] as last,
        (array['US', 'US', 'US', 'US', 'DE', 'DE', 'DE', 'GB', 'GB', 'FR', 'FR', 'BR', 'BR', 'ES',
            'IT', 'NL', 'PL', 'SE', 'JP', 'IN'])[1 + floor(20 * random())] as country,
        (array['free', 'free', 'free', 'free', 'free', 'free', 'free', 'basic', 'basic',
            'pro'])[1 + floor(10 * random())] as plan,
        current_date - 91 - 1095 + floor(1095 * pow(id / 100001.0, 0.6))::int as signed_up
    from generate_series(1, 100000) as id
) as person;

-- Activity is Zipf-like: user 1 is seen most, and half of the events come from a
-- tenth of the users. The hour of the day peaks in the early afternoon.
insert into events (at, user_id, kind, cents)
select at, user_id,
    case when dice < 0.70 then 'visit' when dice < 0.90 then 'search'
        when dice < 0.96 then 'cart' else 'order' end,
    case when dice < 0.96 then 0 else 500 + floor(20000 * pow(random(), 3))::int end
from (
    select current_date - 90 + floor(104 * random())::int
            + make_interval(secs => (10800 + 75600 * (random() + random()) / 2)) as at,
        floor(pow(1 + (pow(100001.0::float8, 0.3) - 1) * random(), 1 / 0.3))::int as user_id,
        random() as dice
    from generate_series(1, 1155000)
) as event
order by at;

alter table users add primary key (id);
create unique index on users (email);
alter table events add primary key (id);
alter table events add foreign key (user_id) references users;
create index on events (user_id, at);
create index on events (at) include (user_id, kind, cents);

-- leeway only ever reads.
create role leeway login;
grant select on users, events to leeway;

commit;

vacuum (analyze, freeze) users, events;
