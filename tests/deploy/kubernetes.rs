//! The Kubernetes file: one pod of truenorth with git-sync as its sidecar, without rights.

use serde_yaml::Value;

use crate::image;
use crate::support::{argument, assert_ours, assert_pinned, assert_swapped_link, at, documents, strings, text};

fn kind(kind: &str) -> Value {
    let mut found: Vec<Value> = documents("deploy/kubernetes.yaml");
    found.retain(|document| document["kind"] == kind);
    assert_eq!(found.len(), 1, "{kind}");
    found.remove(0)
}

fn pod() -> Value {
    at(&kind("Deployment"), "spec.template.spec").clone()
}

/// The container of that name.
#[track_caller]
fn container(pod: &Value, name: &str) -> Value {
    containers(pod).into_iter().find(|container| container["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

fn containers(pod: &Value) -> Vec<Value> {
    let both = ["initContainers", "containers"];
    both.iter().flat_map(|list| pod[*list].as_sequence().unwrap().clone()).collect()
}

/// The path where a container mounts a volume, and whether it can only read.
fn mount(container: &Value, volume: &str) -> Option<(String, bool)> {
    let mounts = container["volumeMounts"].as_sequence().unwrap();
    let mount = mounts.iter().find(|mount| mount["name"] == volume)?;
    Some((mount["mountPath"].as_str().unwrap().to_owned(), mount["readOnly"] == true))
}

#[test]
fn every_container_has_no_rights_and_a_bound_on_memory() {
    let pod = pod();
    assert_eq!(containers(&pod).len(), 2);
    for container in containers(&pod) {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false, "{container:#?}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{container:#?}");
        assert_eq!(strings(at(context, "capabilities.drop")), ["ALL"], "{container:#?}");
        assert!(at(context, "capabilities.add").is_null() && context.get("privileged").is_none());
        assert!(context["runAsUser"].as_u64().is_some_and(|user| user > 0), "{container:#?}");
        assert!(at(&container, "resources.limits.memory").is_string(), "{container:#?}");
        assert!(at(&container, "resources.requests.cpu").is_string(), "{container:#?}");
        assert_pinned(container["image"].as_str().unwrap());
    }
    let truenorth = container(&pod, "truenorth");
    assert_ours(truenorth["image"].as_str().unwrap());
    assert_eq!(at(&truenorth, "securityContext.runAsUser").as_u64(), Some(image::user().into()));
}

#[test]
fn the_pod_has_no_rights() {
    let pod = pod();
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(at(&pod, "securityContext.runAsNonRoot").as_bool(), Some(true));
    assert_eq!(at(&pod, "securityContext.seccompProfile.type"), "RuntimeDefault");
    for key in ["hostNetwork", "hostPID", "hostIPC", "serviceAccountName"] {
        assert!(pod.get(key).is_none(), "{key}");
    }
    let volumes = pod["volumes"].as_sequence().unwrap();
    assert!(volumes.iter().all(|volume| volume.get("hostPath").is_none()));
    assert_eq!(at(&kind("Namespace"), "metadata.labels")["pod-security.kubernetes.io/enforce"], "restricted");
}

#[test]
fn the_ledger_has_one_writer_that_has_time_to_end() {
    let deployment = kind("Deployment");
    assert_eq!(at(&deployment, "spec.replicas"), 1);
    assert_eq!(at(&deployment, "spec.strategy.type"), "Recreate");
    assert!(pod()["terminationGracePeriodSeconds"].as_u64().unwrap() > 20);
    let state = mount(&container(&pod(), "truenorth"), "state");
    assert_eq!(state, Some((image::variable("TRUENORTH_STATE_DIR"), false)));
    let claim = kind("PersistentVolumeClaim");
    let pod = pod();
    let volumes = pod["volumes"].as_sequence().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == "state").unwrap();
    assert_eq!(at(volume, "persistentVolumeClaim.claimName"), at(&claim, "metadata.name"));
}

#[test]
fn git_sync_is_a_native_sidecar_on_a_shared_volume() {
    let pod = pod();
    let (git_sync, truenorth) = (&pod["initContainers"][0], container(&pod, "truenorth"));
    assert_eq!(git_sync["restartPolicy"], "Always");
    assert_swapped_link(&strings(&git_sync["args"]), &strings(&truenorth["args"]));
    let root = argument(&strings(&git_sync["args"]), "--root").to_owned();
    assert_eq!(mount(git_sync, "git"), Some((root.clone(), false)));
    assert_eq!(mount(&truenorth, "git"), Some((root, true)));
}

#[test]
fn the_token_is_a_file_that_only_truenorth_can_read() {
    let pod = pod();
    let truenorth = container(&pod, "truenorth");
    let (path, read_only) = mount(&truenorth, "token").unwrap();
    assert!(read_only && argument(&strings(&truenorth["args"]), "--token-file").starts_with(&format!("{path}/")));
    // A file of its own would never be renewed.
    let mounts = truenorth["volumeMounts"].as_sequence().unwrap();
    assert!(mounts.iter().all(|mount| mount.get("subPath").is_none()));
    assert!(mount(&container(&pod, "git-sync"), "token").is_none());
    let volumes = pod["volumes"].as_sequence().unwrap();
    let token = &volumes.iter().find(|volume| volume["name"] == "token").unwrap()["secret"];
    // Octal, which this parser takes for text.
    assert_eq!(token["defaultMode"], "0400");
    // Through this group; the files belong to root.
    assert_eq!(at(&pod, "securityContext.fsGroup"), at(&truenorth, "securityContext.runAsGroup"));
    // Made by hand, in no file and in no variable.
    assert!(documents("deploy/kubernetes.yaml").iter().all(|document| document["kind"] != "Secret"));
    assert!(containers(&pod).iter().all(|container| container.get("env").is_none()));
    let create = format!("create secret generic {} --from-file=token=", token["secretName"].as_str().unwrap());
    // After the file was applied, which makes the namespace.
    let page = text("deploy/kubernetes.md");
    let apply = page.find("kubectl apply --filename deploy/kubernetes.yaml").unwrap();
    assert!(page.find(&create).is_some_and(|at| at > apply), "the page does not say `{create}` after `kubectl apply`");
}

#[test]
fn every_mount_has_a_volume_and_every_volume_a_mount() {
    let pod = pod();
    let names = |list: &Value| -> Vec<String> {
        list.as_sequence().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let mut mounted: Vec<String> =
        containers(&pod).iter().flat_map(|container| names(&container["volumeMounts"])).collect();
    let mut volumes = names(&pod["volumes"]);
    mounted.sort();
    mounted.dedup();
    volumes.sort();
    assert_eq!(mounted, volumes);
}

#[test]
fn probes_ask_the_port_that_truenorth_listens_on() {
    let truenorth = container(&pod(), "truenorth");
    let ports = truenorth["ports"].as_sequence().unwrap();
    let [port] = &ports[..] else { panic!("{ports:?}") };
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(at(&truenorth[probe], "httpGet.path"), path);
        assert_eq!(at(&truenorth[probe], "httpGet.port"), &port["name"]);
    }
    // On all of the pod's addresses: probes do not come from its loopback.
    let listen = format!("0.0.0.0:{}", port["containerPort"].as_u64().unwrap());
    assert_eq!(argument(&strings(&truenorth["args"]), "--listen"), listen);
}

#[test]
fn the_network_is_names_and_https_out_and_metrics_in_for_those_with_a_label() {
    let (policy, deployment) = (kind("NetworkPolicy"), kind("Deployment"));
    assert_eq!(strings(at(&policy, "spec.policyTypes")), ["Ingress", "Egress"]);
    let [ingress] = &at(&policy, "spec.ingress").as_sequence().unwrap()[..] else { panic!("{policy:#?}") };
    let [from] = &ingress["from"].as_sequence().unwrap()[..] else { panic!("{ingress:#?}") };
    let label = at(from, "namespaceSelector.matchLabels").as_mapping().unwrap();
    assert_eq!((from.as_mapping().unwrap().len(), label.len()), (1, 1), "an empty selector is every namespace");
    let (name, value) =
        label.iter().next().map(|(name, value)| (name.as_str().unwrap(), value.as_str().unwrap())).unwrap();
    assert!(text("deploy/kubernetes.md").contains(&format!("kubectl label namespace monitoring {name}={value}")));
    assert_eq!(ingress["ports"], serde_yaml::from_str::<Value>("[{protocol: TCP, port: 9095}]").unwrap());
    let rules = at(&policy, "spec.egress").as_sequence().unwrap();
    let open: Vec<(String, u64)> = rules
        .iter()
        .flat_map(|rule| rule["ports"].as_sequence().unwrap())
        .map(|port| (port["protocol"].as_str().unwrap().to_owned(), port["port"].as_u64().unwrap()))
        .collect();
    let expected = [("UDP", 53), ("TCP", 53), ("TCP", 443)].map(|(protocol, port)| (protocol.to_owned(), port));
    assert_eq!(open, expected);
    let selected = at(&policy, "spec.podSelector.matchLabels");
    assert!(!selected.is_null());
    assert_eq!(selected, at(&deployment, "spec.template.metadata.labels"));
    assert_eq!(selected, at(&deployment, "spec.selector.matchLabels"));
}

/// Prometheus finds it, and is answered where it calls it by the Service's name.
#[test]
fn the_service_leads_to_the_status_port_by_names_that_are_allowed() {
    let (service, deployment) = (kind("Service"), kind("Deployment"));
    assert_eq!(at(&service, "spec.selector"), at(&deployment, "spec.template.metadata.labels"));
    let truenorth = container(&pod(), "truenorth");
    let [port] = &at(&service, "spec.ports").as_sequence().unwrap()[..] else { panic!("{service:#?}") };
    assert_eq!(port["targetPort"], truenorth["ports"][0]["name"]);
    assert_eq!(port["port"], truenorth["ports"][0]["containerPort"]);
    let metadata = &service["metadata"];
    let name = format!("{}.{}.svc", metadata["name"].as_str().unwrap(), metadata["namespace"].as_str().unwrap());
    let allowed = format!("{name},{name}.cluster.local");
    assert_eq!(argument(&strings(&truenorth["args"]), "--allow-host"), allowed);
}

#[test]
fn everything_is_in_one_namespace() {
    let namespace = kind("Namespace")["metadata"]["name"].clone();
    for document in documents("deploy/kubernetes.yaml") {
        let (kind, metadata) = (document["kind"].as_str().unwrap(), &document["metadata"]);
        assert!(kind == "Namespace" || metadata["namespace"] == namespace, "{kind}");
    }
}
