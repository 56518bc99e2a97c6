# SPDX-License-Identifier: BSD-2-Clause
"""A table of orders such as an API serves: names that repeat, numbers and times that do not. Their
JSON compresses to about a sixth. The same rows whenever it is made."""

SQL = """
create function pick(row_number bigint, salt int) returns bigint immutable language sql
  as $$ select abs(hashint8extended(row_number, salt) % 1000003) $$;
create table orders as
select i::int as id,
       (array['Anna', 'Ben', 'Clara', 'David', 'Elena', 'Farid', 'Grace', 'Hugo', 'Ines', 'Jonas',
              'Katya', 'Liam', 'Maria', 'Noah', 'Olga', 'Pedro'])[1 + pick(i, 1) % 16] || ' ' ||
       (array['Andersen', 'Bauer', 'Costa', 'Dubois', 'Eriksen', 'Fischer', 'Garcia', 'Hansen',
              'Ivanova', 'Jansen', 'Kowalski', 'Lopez', 'Meyer', 'Novak', 'Okafor',
              'Petrov'])[1 + pick(i, 2) % 16] as customer,
       (array['new', 'paid', 'packed', 'shipped', 'delivered', 'returned'])[1 + pick(i, 3) % 6]
           as status,
       (array['Berlin', 'Lisbon', 'Warsaw', 'Oslo', 'Madrid', 'Vienna', 'Prague', 'Lyon', 'Gdansk',
              'Porto', 'Leipzig', 'Bergen'])[1 + pick(i, 4) % 12] as city,
       round(pick(i, 5) / 100.0, 2) as total,
       (1 + pick(i, 6) % 9)::int as items,
       timestamptz '2026-01-01 00:00:00+00' + i * interval '7 minutes' +
           (pick(i, 7) % 420) * interval '1 second' as placed,
       pick(i, 8) % 5 = 0 as gift,
       'JD' || lpad((pick(i, 9) * 1000003 + pick(i, 11))::text, 12, '0')
           as parcel,
       'Leave it with the neighbour at number ' || pick(i, 10) % 90 as note
  from generate_series(1, {rows}) i;
alter table orders add primary key (id);
analyze orders;
"""
COLUMNS = "id, customer, status, city, total, items, placed, gift, parcel, note"


def make(world, rows):
    for statement in SQL.format(rows=rows).split(";\n"):
        if statement.strip():
            world.stack.sql(statement)


def first(rows):
    """SQL for so many orders."""
    return f"select {COLUMNS} from orders where id <= {rows} order by id"


def page(rows):
    """SQL for so many orders, the page being a parameter."""
    return (f"select {COLUMNS} from orders where id > ($1::int - 1) * {rows} "
            f"and id <= $1::int * {rows} order by id")
