//! The network of a cluster: addresses enter; namespaces with links and routes between them leave.
//!
//! The bridge between nodes is in the control plane's namespace, and the machine has one link to it: what the cluster does to
//! routes and packet filters stays inside.

use anyhow::Result;

use super::instance::{Addresses, Instance, NODES};
use super::tools::Tools;

/// Makes it.
///
/// # Errors
/// `ip` fails.
pub(super) fn make(instance: &Instance, addresses: Addresses, tools: &Tools) -> Result<()> {
    let (control, link) = (instance.control(), instance.link());
    tools.run(&format!("ip netns add {control}"))?;
    let inside = |line: &str| tools.run(&format!("ip -n {control} {line}"));
    inside("link set lo up")?;
    inside("link add nodes type bridge")?;
    inside(&format!("addr add {}/24 dev nodes", addresses.control()))?;
    inside("link set nodes up")?;
    forward(tools, &control)?;
    tools.run(&format!("ip link add {link} type veth peer name machine netns {control}"))?;
    inside("link set machine master nodes up")?;
    tools.run(&format!("ip addr add {}/24 dev {link}", addresses.machine()))?;
    tools.run(&format!("ip link set {link} up"))?;
    for number in NODES {
        node(instance, addresses, tools, number)?;
    }
    // A Service that kube-proxy does not know yet fails at once, and not after two minutes.
    inside(&format!("route add unreachable {}", addresses.services()))
}

fn node(instance: &Instance, addresses: Addresses, tools: &Tools, number: u8) -> Result<()> {
    let (control, node, address) = (instance.control(), instance.node(number), addresses.node(number));
    tools.run(&format!("ip netns add {node}"))?;
    tools.run(&format!("ip -n {control} link add node-{number} type veth peer name eth0 netns {node}"))?;
    tools.run(&format!("ip -n {control} link set node-{number} master nodes up"))?;
    let inside = |line: &str| tools.run(&format!("ip -n {node} {line}"));
    inside("link set lo up")?;
    inside(&format!("addr add {address}/24 dev eth0"))?;
    inside("link set eth0 up")?;
    inside(&format!("route add default via {}", addresses.control()))?;
    forward(tools, &node)?;
    tools.run(&format!("ip -n {control} route add {} via {address}", addresses.pods(number)))?;
    for other in NODES.into_iter().filter(|other| *other != number) {
        inside(&format!("route add {} via {}", addresses.pods(other), addresses.node(other)))?;
    }
    Ok(())
}

/// Lets packets through a namespace.
fn forward(tools: &Tools, namespace: &str) -> Result<()> {
    let write = "echo 1 >/proc/sys/net/ipv4/ip_forward";
    tools.output("ip", ["netns", "exec", namespace, "sh", "-c", write]).map(drop)
}
