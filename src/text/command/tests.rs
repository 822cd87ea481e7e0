//! What of a command is shown: ordinary ones stay readable, and no way to write a secret into one shows it.

use super::{CHANGED, HIDDEN, change, concealed, is_command, shown};

/// Ordinary commands, which are shown as they are.
const READABLE: &[&str] = &[
    "",
    "node server.js --port 8080",
    "npm run start:prod",
    "npm start",
    "yarn --production serve",
    "python manage.py runserver 0.0.0.0:8000",
    "python3 -m http.server 8000",
    "gunicorn app.wsgi:application --bind 0.0.0.0:8000 --workers 4 --timeout 120",
    "uvicorn main:app --host 0.0.0.0 --port $PORT",
    "java -Xmx512m -Dserver.port=8080 -jar app.jar",
    "java -cp /app/lib/* -server",
    "bundle exec puma -C config/puma.rb",
    "./bin/server --log-level=info --config /etc/app/config.yaml",
    "/usr/local/bin/worker --verbose",
    "dotnet MyApp.dll",
    "php artisan queue:work",
    "celery worker --loglevel=info",
    "exec node dist/main.js",
    "NODE_ENV=production node server.js",
    "sh -c \"node server.js --port 8080\"",
    "/bin/sh -c 'npm run migrate && npm start'",
    "nginx -g 'daemon off;'",
    "sleep 30; node worker.js",
    "node worker.js > /dev/null 2>&1",
    "docker-entrypoint.sh postgres",
    "web",
];

#[test]
fn ordinary_commands_stay_readable() {
    let unreadable: Vec<(&str, String)> =
        READABLE.iter().map(|command| (*command, shown(command))).filter(|(command, shown)| command != shown).collect();
    assert_eq!(unreadable, [], "shown otherwise");
}

/// Usual ways to write a secret into a command. Each `§` stands for one.
const WAYS: &[&str] = &[
    "curl -H 'Authorization: Bearer §' http://localhost:3000",
    "curl -H \"X-Api-Key: §\" localhost",
    "curl -HAuthorization:§ localhost",
    "curl --header=X-Token:§ localhost",
    "curl -u admin:§ https://example.com",
    "curl --user admin:§ https://example.com",
    "curl -uadmin:§ https://example.com",
    "curl https://admin:§@example.com/path",
    "curl 'https://example.com/?token=§&x=1'",
    "curl https://example.com/hook/§",
    "curl -d '{\"password\":\"§\"}' localhost",
    "curl --data password=§ localhost",
    "curl -b session=§ localhost",
    "wget --password § https://example.com",
    "wget --http-password=§ https://example.com",
    "DB_PASS=§ node server.js",
    "DB_PASS='§' node server.js",
    "DB_PASS=\"§ §\" node server.js",
    "export DB_PASS=§ && node server.js",
    "env AWS_SECRET_ACCESS_KEY=§ node server.js",
    "AWS_ACCESS_KEY_ID=§ aws s3 ls",
    "docker run -e TOKEN=§ web",
    "docker run --env TOKEN=§ web",
    "docker login -u acme -p §",
    "docker login --password=§",
    "echo § | docker login --password-stdin",
    "echo § > /run/token",
    "printf %s §",
    "mysql -p§",
    "mysql -u root -p§ shop",
    "mysql --password=§ shop",
    "mysql --password § shop",
    "mysqladmin -u root password §",
    "psql postgres://u:§@h/db",
    "psql 'host=h password=§'",
    "psql \"postgresql://u:§@h:5432/db?sslmode=require\"",
    "PGPASSWORD=§ psql",
    "node server.js --database-url postgres://u:§@h/db",
    "node server.js --db=mongodb+srv://u:§@h/db",
    "redis-server --requirepass §",
    "redis-cli -a § ping",
    "redis-cli AUTH §",
    "redis-cli -u redis://:§@h:6379/0",
    "sshpass -p § ssh host",
    "sshpass -p§ ssh host",
    "sshpass -p '§' ssh host",
    "node server.js --token=§",
    "node server.js --token §",
    "node server.js --token '§'",
    "node server.js --token \"§ §\"",
    "node server.js -t §",
    "node server.js -t§",
    "node server.js -token §",
    "node server.js -token=§",
    "node server.js --api-key:§",
    "node server.js token:§",
    "node server.js token=§",
    "node server.js /password:§",
    "node server.js §",
    "node -e \"login('§')\"",
    "python -c 'connect(password=\"§\")'",
    "sh -c 'DB_PASS=§ node server.js'",
    "sh -c \"mysql -p§\"",
    "bash -lc \"curl -H 'Authorization: Bearer §' localhost\"",
    "sh -c \"echo § | login\"",
    "cat <<EOF > config.json\n{\"password\": \"§\"}\nEOF\nnode server.js",
    "cat <<'EOF'\n§\nEOF",
    "java -Ddb.password=§ -jar app.jar",
    "java -D§ -jar app.jar",
    "openssl enc -k §",
    "openssl passwd §",
    "openssl rsa -passin pass:§",
    "htpasswd -b /etc/users admin §",
    "ldapsearch -w §",
    "ldapsearch -D cn=admin -w§",
    "vault login §",
    "VAULT_TOKEN=§ vault read x",
    "aws configure set aws_secret_access_key §",
    "npm config set //registry.npmjs.org/:_authToken §",
    "git clone https://§@github.com/acme/web",
    "helm upgrade --set db.password=§ web",
    "kubectl create secret generic x --from-literal=a=§",
    "sqlplus scott/§@db",
    "[\"node\", \"--token\", \"§\"]",
    "node server.js --password correct § battery",
    "node server.js --password\n§",
    "node server.js --password=$(printf §)",
    "node server.js \"§",
    "node server.js --x=`printf §`",
    "smtp --auth plain --user me --pass § --port 25",
    "user:§",
    "ftp://u:§@h",
    "--token §",
    "app login admin §",
    "vault operator unseal §",
    "ansible-vault encrypt_string §",
    "app unlock §",
    "app basic bob §",
    "node server.js --pin §",
    "node server.js --pw=§",
    "node server.js --smtp-pw §",
    "DB_PW=§ node server.js",
    "wallet --mnemonic \"§ § §\"",
    "zip -P § out.zip data",
    "7z x -p§ a.7z",
    "mosquitto_pub -u bob -P § -t x",
    "smbclient //h/s -U bob%§",
    "mount -t cifs //h/s /mnt -o username=a,password=§",
    "snmpget -v2c -c § h",
    "helm install --set-string a=§ x",
    "terraform apply -var pw=§",
    "powershell -Command \"$env:PASS='§'; node x\"",
    "node x <<< \"§\"",
    "TOKEN=${TOKEN:-§} node x",
    "node x # §",
    "(export A=§; node x)",
    "A=§;node x",
    "sh -ec \"export P=§\napp\"",
];

/// What a secret looks like: words, a word with digits, base64, hexadecimal, a JWT, a key of AWS, base32, a number,
/// special characters.
const SECRETS: &[&str] = &[
    "hunter2",
    "Swordfish",
    "S3cr3t!",
    "CLASSIFIED",
    "swordfish",
    "dGhpcyBpcyBhIHNlY3JldA==",
    "9f86d081884c7d659a2feaa0c55ad015",
    "a1b2c3d4e5f6",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "JBSWY3DPEHPK3PXP",
    "AKIAIOSFODNN7EXAMPLE",
    "48151623420815",
    "p@ss%w0rd#1",
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "xoxb-17653672481-19874698323",
    "correct-horse-9-battery",
    "größe1",
];

/// The parts of a secret that would tell something of it.
fn telling(secret: &str) -> Vec<&str> {
    secret.split(|c: char| !c.is_alphanumeric()).filter(|part| part.len() >= 4).collect()
}

#[test]
fn no_usual_way_to_write_a_secret_shows_it() {
    let mut leaks = Vec::new();
    for way in WAYS {
        for secret in SECRETS {
            let command = way.replace('§', secret);
            let shown = shown(&command);
            let (from, to) = change("node server.js", &command);
            let (_, same) = change(&command, &format!("{command} --more"));
            let tells = |text: &str| telling(secret).iter().any(|part| text.contains(part));
            if [&shown, &from, &to, &same].into_iter().any(|text| tells(text)) {
                leaks.push(format!("{command:?} is shown as {shown:?}"));
            }
        }
    }
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

#[test]
fn a_short_number_is_hidden_behind_a_word_that_speaks_of_secrets() {
    for command in
        ["app --pin §", "app --pin=§", "DB_PW=§ app", "app --sms-code §", "sshpass -p § ssh h", "app unlock §"]
    {
        let shown = shown(&command.replace('§', "4711"));
        assert!(!shown.contains("4711"), "{shown}");
    }
    for command in ["app deadbeefcafe", "app correct-horse-battery"] {
        assert_eq!(shown(command), "app [hidden]");
    }
}

#[test]
fn a_change_tells_which_words_are_others() {
    for (from, to, was, is) in [
        (
            "node server.js --port 80",
            "node server.js --port 8080",
            "node server.js --port 80",
            "node server.js --port 8080",
        ),
        ("app --token a1b --x", "app --token c2d --x", "app --token [hidden] --x", "app --token [changed] --x"),
        ("app --token=a1b -v", "app --token=a1b -q", "app --token=[hidden] -v", "app --token=[hidden] -q"),
        ("app Xa Xb", "app Xb", "app [hidden] [hidden]", "app [hidden]"),
        ("app  x1", "app x1", "app [hidden]", "app [hidden] (other blanks)"),
        ("", "sh -c \"app -pX\"", "", "sh -c \"app -p[changed]\""),
    ] {
        assert_eq!(change(from, to), (was.to_owned(), is.to_owned()), "{from} -> {to}");
    }
    assert_eq!((HIDDEN, CHANGED), ("[hidden]", "[changed]"));
}

#[test]
fn an_answer_repeats_no_hidden_word() {
    let command = r#"app --port 8080 -d '{"password":"hunter2"}' -pswordfish"#;
    let message = r#"customCommand {\"password\":\"hunter2\"} -pswordfish --port 8080 is too long"#;
    let shown = r#"customCommand {\"[hidden]\":\"[hidden]\"} -p[hidden] --port 8080 is too long"#;
    assert_eq!(concealed(message, command), shown);
    assert_eq!(concealed("bad: -pswordf…", command), "bad: -…");
    assert_eq!(concealed("no such service", "app --x 1"), "no such service");
}

#[test]
fn a_long_command_is_read_in_bounds() {
    let long = "a1x ".repeat(100_000);
    assert!(shown(&long).len() < 10_000);
    assert!(change(&long, &long.replace('x', "y")).1.len() < 10_000);
    assert!(shown(&"--a=".repeat(100_000)).len() <= 400_008);
}

#[test]
fn commands_are_known_by_their_field() {
    for path in ["docker.customCommand", "buildpack.customEntrypoint", "buildpack.customProcess", "customCommand"] {
        assert!(is_command(path), "{path}");
    }
    assert!(!is_command("docker.configType") && !is_command("external.imagePath"));
}
