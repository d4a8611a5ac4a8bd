//! Who may come in by what the shards know, what is read of replicas, and what is read again.

use super::*;

#[test]
fn replicas_are_servers_of_their_own_of_shards_on_servers() {
    let shard = |url: &str, replicas: &str| format!("[[shards]]\nname = 'a'\nurl = '{url}'\nreplicas = {replicas}\n");
    let config = load(&shard("postgres://app@a/x", "['postgres://app:canary@b/x', 'postgres://app@c/x']")).unwrap();
    assert_eq!(config.replicas["a"].len(), 2);
    assert!(!format!("{config:?}{}", config.show_report()).contains("canary"));
    for (url, replicas, problem) in [
        ("sqlite:a.db", "['postgres://app@b/x']", "4 shards[0].replicas: only a shard on a Postgres server"),
        (
            "postgres://app@a/x",
            "['postgres://other@a:5432/x']",
            "4 shards[0].replicas[0]: another shard or replica has",
        ),
        (
            "postgres://app@a/x",
            "['postgres://app@b/x', 'postgres://app@b/x']",
            "4 shards[0].replicas[1]: another shard",
        ),
        ("postgres://app@a/x", "['sqlite:b.db']", "4 shards[0].replicas[0]: this should be postgres://"),
        ("postgres://app@a/x", "['postgres://b/x']", "4 shards[0].replicas[0]: it has no user"),
    ] {
        let problems = problems(&shard(url, replicas));
        assert!(problems.iter().any(|told| told.starts_with(problem)), "{problem}: {problems:?}");
    }
}

#[test]
fn what_asks_for_passwords_is_looked_at() {
    let with = |section: &str| format!("[[shards]]\nname = 'a'\nurl = 'postgres://app@a/x'\n[auth_query]\n{section}");
    let asking = load(&with("user = 'asker'\nshards = ['a']")).unwrap().auth_query.unwrap();
    assert_eq!((asking.user.as_str(), asking.query.as_str()), ("asker", DEFAULT_AUTH_QUERY));
    assert_eq!(load(&with("")).unwrap().auth_query, None);
    for (section, problem) in [
        ("shards = ['a']", "auth_query.user: nobody is asked for passwords without it"),
        ("user = 'asker'\nquery = 'SELECT 1, 2'", "6 auth_query.query: this should ask for the user $1"),
        ("user = 'asker'\npassword_file = '/nowhere'", "6 auth_query.password_file: cannot read the file"),
        ("user = 'asker'\nshards = ['a', 'a']", "6 auth_query.shards[1]: this shard is named twice"),
        ("user = 'asker'\nrequire_tls = true", "6 auth_query.require_tls: nothing can be encrypted"),
    ] {
        let problems = problems(&with(section));
        assert!(problems.iter().any(|told| told.contains(problem)), "{problem}: {problems:?}");
    }
    assert!(problems("[auth_query]\nuser = 'asker'\n")[0].contains("the shards are SQLite files"));
    // It keeps strangers out, as users do.
    let exposed = "[listen]\npostgres = '0.0.0.0:6432'\n";
    let told = |config: &str| problems(&format!("{exposed}{config}"));
    assert_eq!(told("[auth_query]\nuser = 'asker'\n").iter().filter(|told| told.contains("without users")).count(), 0);
    assert_eq!(told("").iter().filter(|told| told.contains("without users")).count(), 1);
}

#[test]
fn a_reload_tells_what_it_does_not_take() {
    let before = load("[limits]\nmax_clients = 5\n").unwrap();
    let verifier = Verifier::from_password("x", SALT).to_string();
    let users = format!("[[users]]\nname = 'app'\nverifier = '{verifier}'\n");
    let after = load(&format!("database = 'other'\n[limits]\nauth_query_keep_ms = 5\n{users}")).unwrap();
    assert_eq!(needing_a_restart(&before, &after), ["database", "limits.max_clients"]);
}
