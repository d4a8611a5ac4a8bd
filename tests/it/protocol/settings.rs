//! Settings: what SET, SET LOCAL and RESET mean across statements and transactions, and what a client is told of them.

use super::{SEATS, everywhere, kinds, send};
use crate::support::client::{DATABASE, USER};
use crate::support::{Client, Shardd};

fn shown(client: &mut Client, name: &str) -> String {
    client.query(&format!("SHOW {name}")).value()
}

#[test]
fn set_local_ends_with_its_transaction_and_set_outlives_it() {
    everywhere(|connect| {
        let mut client = connect();
        client.run("SET statement_timeout = '1s'");
        for (transaction, afterwards) in [
            ("BEGIN; SET LOCAL statement_timeout = '2s'; SET LOCAL statement_timeout = '3s'; COMMIT", "1s"),
            ("BEGIN; SET LOCAL statement_timeout TO DEFAULT; COMMIT", "1s"),
            ("BEGIN; SET LOCAL statement_timeout = '2s'; COMMIT AND CHAIN; ROLLBACK", "1s"),
            ("BEGIN; SET statement_timeout = '9s'; ROLLBACK", "1s"),
            ("BEGIN; SET LOCAL statement_timeout = '2s'; SET statement_timeout = '4s'; COMMIT", "4s"),
            ("BEGIN; SET statement_timeout = '5s'; SET LOCAL statement_timeout = '6s'; COMMIT", "5s"),
        ] {
            // One by one: several in a text would be another kind of transaction.
            transaction.split("; ").for_each(|statement| client.run(statement));
            assert_eq!(shown(&mut client, "statement_timeout"), afterwards, "{transaction}");
        }
    });
}

#[test]
fn settings_of_a_text_that_fails_fall_with_it() {
    everywhere(|connect| {
        let mut client = connect();
        let answers = client.simple("SET application_name = 'lost'; SELECT 1/0");
        assert_eq!(answers[1].sqlstate(), "22012");
        assert_eq!(shown(&mut client, "application_name"), "");
        client.run("SET application_name = 'kept'; SELECT 1");
        assert_eq!(shown(&mut client, "application_name"), "kept");
    });
}

#[test]
fn a_client_is_told_of_settings_once_and_only_when_they_changed() {
    everywhere(|connect| {
        let mut client = connect();
        let reports = |client: &mut Client, text: &str| {
            send(client, |writer| writer.query(text));
            kinds(client).matches('S').count()
        };
        assert_eq!(reports(&mut client, "SET TimeZone = 'Asia/Tokyo'"), 1);
        assert_eq!(reports(&mut client, "SET TimeZone = 'Asia/Tokyo'"), 0);
        assert_eq!(reports(&mut client, "BEGIN; SET TimeZone = 'UTC'; ROLLBACK"), 0);
        assert_eq!(reports(&mut client, "RESET ALL"), 1);
    });
}

#[test]
fn notices_are_held_back_where_the_client_says_so() {
    everywhere(|connect| {
        let mut client = connect();
        client.run(SEATS);
        let again = SEATS.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS");
        assert_eq!(client.query(&again).notices.len(), 1);
        client.run("SET client_min_messages = warning");
        assert_eq!(client.query(&again).notices.len(), 0);
        assert_eq!(client.query("COMMIT").notices.len(), 1, "a warning comes");
        client.run("SET client_min_messages = error");
        assert_eq!(client.query("COMMIT").notices.len(), 0);
    });
}

/// psql asks for SQL_ASCII on a terminal where no locale is set, as in a container.
#[test]
fn a_client_without_a_locale_is_served_as_it_is() {
    everywhere(|connect| {
        let mut client = connect();
        client.run("SET client_encoding = 'SQL_ASCII'");
        assert_eq!(client.settings.get("client_encoding").map(String::as_str), Some("SQL_ASCII"));
        assert_eq!(client.query("SELECT 'Zürich'").value(), "Zürich");
    });
    let server = Shardd::start();
    let settings = [("user", USER), ("database", DATABASE), ("client_encoding", "SQL_ASCII")];
    let mut client = Client::connect_with(server.ports.postgres, &settings).expect("let in");
    assert_eq!(client.query("SELECT 1").value(), "1");
}

#[test]
fn common_settings_can_be_set_shown_and_reset() {
    everywhere(|connect| {
        let mut client = connect();
        for (name, default, value, then) in [
            ("work_mem", "4MB", "'64MB'", "64MB"),
            ("enable_seqscan", "on", "false", "off"),
            ("synchronous_commit", "on", "off", "off"),
            ("client_min_messages", "notice", "warning", "warning"),
            ("extra_float_digits", "1", "3", "3"),
            ("application_name", "", "'Büro'", "B??ro"),
            ("role", "none", "none", "none"),
            ("default_transaction_isolation", "read committed", "serializable", "serializable"),
        ] {
            assert_eq!(shown(&mut client, name), default, "{name}");
            client.run(&format!("SET {name} = {value}"));
            assert_eq!(shown(&mut client, name), then, "{name}");
            client.run(&format!("RESET {name}"));
            assert_eq!(shown(&mut client, name), default, "{name}");
        }
        client.run("SET ROLE NONE");
        client.run("RESET ROLE");
        client.run("DISCARD ALL");
        assert_eq!(client.query("SET enable_seqscan = 7").sqlstate(), "22023");
        assert_eq!(client.query("SHOW no_such_setting").sqlstate(), "42704");
    });
}

#[test]
fn a_configured_timeout_is_the_default_that_reset_goes_back_to() {
    let server = Shardd::start_with("[limits]\nstatement_timeout_ms = 3000\n");
    let mut client = server.client();
    assert_eq!(shown(&mut client, "statement_timeout"), "3s");
    client.run("SET statement_timeout = 0");
    client.run("DISCARD ALL");
    assert_eq!(shown(&mut client, "statement_timeout"), "3s");
    assert_eq!(shown(&mut client, "idle_in_transaction_session_timeout"), "1min");
}
