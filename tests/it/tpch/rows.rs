//! The rows of a small TPC-H: few, and such that every query finds some.
//!
//! Not the benchmark's own generator, which spreads values over so many that a few thousand rows would answer half of the
//! queries with nothing. The same numbers come at every run.

/// A fixed sequence of numbers: a linear congruential generator, Knuth's constants.
struct Numbers(u64);

impl Numbers {
    /// From 0 to `end`, without it.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn from(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most - least + 1)
    }

    fn one_of<'v>(&mut self, values: &[&'v str]) -> &'v str {
        values[self.below(values.len())]
    }

    /// Two decimals.
    fn money(&mut self, least: usize, most: usize) -> String {
        format!("{}.{:02}", self.from(least, most), self.below(100))
    }
}

const REGIONS: &[&str] = &["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"];

/// With their regions, by number.
const NATIONS: &[(&str, usize)] = &[
    ("ALGERIA", 0),
    ("ARGENTINA", 1),
    ("BRAZIL", 1),
    ("CANADA", 1),
    ("EGYPT", 4),
    ("ETHIOPIA", 0),
    ("FRANCE", 3),
    ("GERMANY", 3),
    ("INDIA", 2),
    ("INDONESIA", 2),
    ("IRAN", 4),
    ("IRAQ", 4),
    ("JAPAN", 2),
    ("JORDAN", 4),
    ("KENYA", 0),
    ("MOROCCO", 0),
    ("MOZAMBIQUE", 0),
    ("PERU", 1),
    ("CHINA", 2),
    ("ROMANIA", 3),
    ("SAUDI ARABIA", 4),
    ("VIETNAM", 2),
    ("RUSSIA", 3),
    ("UNITED KINGDOM", 3),
    ("UNITED STATES", 1),
];

/// Nations that queries ask for, more often than others.
const FREQUENT: &[usize] = &[2, 3, 6, 7, 8, 12, 18, 20, 21];

const TYPES: &[&str] = &[
    "ECONOMY ANODIZED STEEL",
    "PROMO BURNISHED COPPER",
    "STANDARD POLISHED BRASS",
    "LARGE PLATED BRASS",
    "MEDIUM POLISHED NICKEL",
    "SMALL BRUSHED TIN",
];
const COLORS: &[&str] = &["forest", "green", "azure", "salmon", "chocolate", "ivory"];
const SIZES: &[usize] = &[3, 9, 14, 15, 19, 23, 36, 45, 49, 1, 5];
const BRANDS: &[&str] = &["Brand#12", "Brand#23", "Brand#34", "Brand#45", "Brand#51"];
const CONTAINERS: &[&str] = &["SM CASE", "MED BOX", "LG PKG", "JUMBO JAR", "WRAP CAN"];
const SEGMENTS: &[&str] = &["AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"];
const PRIORITIES: &[&str] = &["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"];
const MODES: &[&str] = &["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"];
const INSTRUCTIONS: &[&str] = &["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"];
const WORDS: &[&str] = &["special", "pending", "requests", "accounts", "deposits", "final", "packages", "ironic"];

const SUPPLIERS: usize = 40;
const PARTS: usize = 200;
const CUSTOMERS: usize = 150;
const ORDERS: usize = 700;
/// Days from 1992-01-01 to the last order that can be delivered in 1998.
const DAYS: usize = 2_405;

/// Rows of one table, as INSERT's VALUES has them.
pub struct Rows {
    pub table: &'static str,
    pub rows: Vec<String>,
}

/// The rows of all tables, in an order in which foreign keys find theirs.
pub fn all() -> Vec<Rows> {
    let mut numbers = Numbers(19_920_101);
    let prices: Vec<usize> = (1..=PARTS).map(|part| 90_000 + (part / 10) % 20_001 + 100 * (part % 1_000)).collect();
    let (orders, lines) = orders(&mut numbers, &prices);
    vec![
        Rows {
            table: "region",
            rows: (0..).zip(REGIONS).map(|(key, name)| format!("({key}, '{name}', 'far')")).collect(),
        },
        Rows {
            table: "nation",
            rows: (0..)
                .zip(NATIONS)
                .map(|(key, (name, region))| format!("({key}, '{name}', {region}, NULL)"))
                .collect(),
        },
        Rows { table: "supplier", rows: (1..=SUPPLIERS).map(|key| supplier(key, &mut numbers)).collect() },
        Rows { table: "part", rows: (1..=PARTS).map(|key| part(key, prices[key - 1], &mut numbers)).collect() },
        Rows {
            table: "partsupp",
            rows: (1..=PARTS)
                .flat_map(|part| (0..4).map(move |turn| (part, supplier_of(part, turn))))
                .map(|(part, supplier)| {
                    let (available, cost) = (numbers.from(1, 9_999), numbers.money(1, 999));
                    format!("({part}, {supplier}, {available}, {cost}, 'stock')")
                })
                .collect(),
        },
        Rows { table: "customer", rows: (1..=CUSTOMERS).map(|key| customer(key, &mut numbers)).collect() },
        Rows { table: "orders", rows: orders },
        Rows { table: "lineitem", rows: lines },
    ]
}

/// The suppliers of a part: four of them, no two the same.
fn supplier_of(part: usize, turn: usize) -> usize {
    (part + turn * (SUPPLIERS / 4)) % SUPPLIERS + 1
}

fn nation(numbers: &mut Numbers) -> usize {
    if numbers.below(3) > 0 { FREQUENT[numbers.below(FREQUENT.len())] } else { numbers.below(NATIONS.len()) }
}

fn phone(nation: usize, numbers: &mut Numbers) -> String {
    format!("{}-{}-{}-{}", nation + 10, numbers.from(100, 999), numbers.from(100, 999), numbers.from(1_000, 9_999))
}

fn supplier(key: usize, numbers: &mut Numbers) -> String {
    let nation = nation(numbers);
    let comment = if key.is_multiple_of(9) { "slow Customer many Complaints" } else { "quick" };
    format!(
        "({key}, 'Supplier#{key:09}', '{} street', {nation}, '{}', {}, '{comment}')",
        numbers.from(1, 99),
        phone(nation, numbers),
        numbers.money(0, 9_998)
    )
}

/// Every fifth has what the queries on brand and container ask for.
fn part(key: usize, price: usize, numbers: &mut Numbers) -> String {
    let (first, second) = (numbers.one_of(COLORS), numbers.one_of(COLORS));
    let (brand, container, size) = match key % 15 {
        0 => ("Brand#12", "SM CASE", 4),
        5 => ("Brand#23", "MED BOX", 7),
        10 => ("Brand#34", "LG PKG", 12),
        _ => (numbers.one_of(BRANDS), numbers.one_of(CONTAINERS), SIZES[numbers.below(SIZES.len())]),
    };
    format!(
        "({key}, '{first} {second}', 'Manufacturer#{}', '{brand}', '{}', {size}, '{container}', {}.{:02}, 'part')",
        key % 5 + 1,
        numbers.one_of(TYPES),
        price / 100,
        price % 100
    )
}

fn customer(key: usize, numbers: &mut Numbers) -> String {
    let nation = nation(numbers);
    let balance = if key.is_multiple_of(8) { format!("-{}", numbers.money(1, 900)) } else { numbers.money(0, 9_998) };
    format!(
        "({key}, 'Customer#{key:09}', '{} lane', {nation}, '{}', {balance}, '{}', 'regular')",
        numbers.from(1, 99),
        phone(nation, numbers),
        numbers.one_of(SEGMENTS)
    )
}

/// Orders and their lines. A third of the customers have ordered nothing.
fn orders(numbers: &mut Numbers, prices: &[usize]) -> (Vec<String>, Vec<String>) {
    let (mut orders, mut lines) = (Vec::new(), Vec::new());
    for turn in 1..=ORDERS {
        let key = turn * 4 - 3;
        let customer = loop {
            let customer = numbers.from(1, CUSTOMERS);
            if !customer.is_multiple_of(3) {
                break customer;
            }
        };
        let ordered = numbers.below(DAYS);
        let large = turn % 35 == 0;
        let count = if large { 7 } else { numbers.from(1, 6) };
        let (mut total, mut open) = (0, 0);
        for line in 1..=count {
            let part = numbers.from(1, PARTS);
            let supplier = supplier_of(part, numbers.below(4));
            let quantity = if large { numbers.from(44, 50) } else { numbers.from(1, 50) };
            let (discount, tax) = (numbers.below(11), numbers.below(9));
            let price = quantity * prices[part - 1];
            total += price;
            let shipped = ordered + numbers.from(1, 121);
            let promised = ordered + numbers.from(30, 90);
            let received = shipped + numbers.from(1, 30);
            // 1995-06-17, on which the benchmark's world stands still.
            const TODAY: usize = 1_263;
            let returned = if received > TODAY { "N" } else { numbers.one_of(&["R", "A"]) };
            open += usize::from(shipped > TODAY);
            lines.push(format!(
                "({key}, {part}, {supplier}, {line}, {quantity}, {}.{:02}, 0.{discount:02}, 0.{tax:02}, '{returned}', '{}', {}, {}, \
                 {}, '{}', '{}', 'line')",
                price / 100,
                price % 100,
                if shipped > TODAY { "O" } else { "F" },
                day(shipped),
                day(promised),
                day(received),
                numbers.one_of(INSTRUCTIONS),
                numbers.one_of(MODES)
            ));
        }
        let status = if open == 0 {
            "F"
        } else if open == count {
            "O"
        } else {
            "P"
        };
        orders.push(format!(
            "({key}, {customer}, '{status}', {}.{:02}, {}, '{}', 'Clerk#{:09}', 0, '{} {} {}')",
            total / 100,
            total % 100,
            day(ordered),
            numbers.one_of(PRIORITIES),
            numbers.from(1, 9),
            numbers.one_of(WORDS),
            numbers.one_of(WORDS),
            numbers.one_of(WORDS)
        ));
    }
    (orders, lines)
}

/// A literal for the day that is so many after 1992-01-01.
fn day(mut days: usize) -> String {
    let mut year = 1992;
    loop {
        let leap = year % 4 == 0;
        let length = if leap { 366 } else { 365 };
        if days >= length {
            days -= length;
            year += 1;
            continue;
        }
        let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut month = 0;
        while days >= lengths[month] {
            days -= lengths[month];
            month += 1;
        }
        return format!("'{year}-{:02}-{:02}'", month + 1, days + 1);
    }
}
