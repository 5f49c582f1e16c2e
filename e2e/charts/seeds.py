"""The commands of the guides that people follow, word for word."""

from __future__ import annotations

import shlex

CHART = "helm install dynamo-vllm ./deploy/kubernetes/dynamo/helm-chart --namespace dynamo-system"
QWEN = "Qwen/Qwen2-0.5B-Instruct"
LLAMA = "meta-llama/Llama-2-7b-chat-hf"
EXAMPLES = "./deploy/kubernetes/dynamo/helm-chart/examples"

OPTIONS = {
    "a-default": CHART,
    "b-model": f"""{CHART}
        --set workers[0].model.path={QWEN}
        --set workers[1].model.path={QWEN}""",
    "c-prefill-decode": f"""{CHART}
        --set workers[0].model.path={QWEN}
        --set workers[0].workerType=prefill
        --set workers[1].model.path={QWEN}
        --set workers[1].workerType=decode""",
    "d-gated-model": f"""{CHART}
        --set huggingface.existingSecret=hf-secret
        --set workers[0].model.path={LLAMA}
        --set workers[1].model.path={LLAMA}""",
    "e-gpu-devices": f"""{CHART}
        --set frontend.gpuDevice=0
        --set workers[0].gpuDevice=1
        --set workers[0].workerType=prefill
        --set workers[1].gpuDevice=2
        --set workers[1].workerType=decode""",
    "f-combined": f"""{CHART}
        --set workers[0].model.path={QWEN}
        --set workers[0].workerType=both
        --set workers[0].gpuDevice=1""",
    "g-tuning": f"""{CHART}
        --set workers[0].model.path={QWEN}
        --set workers[0].model.maxModelLen=4096
        --set workers[0].model.gpuMemoryUtilization=0.85
        --set workers[0].model.enforceEager=true
        --set workers[1].model.path={QWEN}
        --set workers[1].model.maxModelLen=4096
        --set workers[1].model.gpuMemoryUtilization=0.85
        --set workers[1].model.enforceEager=true""",
    "h-nodes": rf"""{CHART}
        --set workers[0].model.path={LLAMA}
        --set workers[0].nodeSelector."kubernetes\.io/hostname"=gpu-node-1
        --set workers[1].model.path={LLAMA}
        --set workers[1].nodeSelector."kubernetes\.io/hostname"=gpu-node-2""",
    "i-resources": f"""{CHART}
        --set workers[0].model.path={LLAMA}
        --set workers[0].resources.requests.cpu=4
        --set workers[0].resources.requests.memory=32Gi
        --set workers[0].resources.limits.cpu=8
        --set workers[0].resources.limits.memory=64Gi
        --set workers[1].model.path={LLAMA}
        --set workers[1].resources.requests.cpu=4
        --set workers[1].resources.requests.memory=32Gi
        --set workers[1].resources.limits.cpu=8
        --set workers[1].resources.limits.memory=64Gi""",
    "j-multi-model": f"{CHART} -f {EXAMPLES}/values-multi-model.yaml",
    "j-multi-node": f"{CHART} -f {EXAMPLES}/values-multi-node.yaml",
    "k-kv": f"{CHART} --set frontend.routerMode=kv",
    "k-round-robin": f"{CHART} --set frontend.routerMode=round-robin",
    "k-random": f"{CHART} --set frontend.routerMode=random",
    "production": f"""{CHART}
        --set huggingface.existingSecret=hf-secret
        --set workers[0].model.path=meta-llama/Llama-3-8b-Instruct
        --set workers[0].workerType=prefill
        --set workers[1].model.path=meta-llama/Llama-3-8b-Instruct
        --set workers[1].workerType=decode""",
    "production-tensor-parallel": f"""{CHART}
        --set huggingface.existingSecret=hf-secret
        --set workers[0].model.path=meta-llama/Llama-3-70b-Instruct
        --set workers[0].model.tensorParallelSize=2
        --set workers[0].resources.requests.gpu=2
        --set workers[0].resources.limits.gpu=2
        --set workers[1].model.path=meta-llama/Llama-3-70b-Instruct
        --set workers[1].model.tensorParallelSize=2
        --set workers[1].resources.requests.gpu=2
        --set workers[1].resources.limits.gpu=2""",
}
"""The options A to K, and the guide's production settings."""

UPGRADE = "helm upgrade dynamo-vllm ./deploy/kubernetes/dynamo/helm-chart --namespace dynamo-system --reuse-values"
UPGRADES = {
    "model": f"""{UPGRADE}
        --set workers[0].model.path=new-model-name
        --set workers[1].model.path=new-model-name""",
    "replicas": f"""{UPGRADE}
        --set workers[0].replicas=2
        --set workers[1].replicas=2""",
}


def words(command: str) -> list[str]:
    """A command as a shell splits it."""
    return shlex.split(command)


def arguments(name: str) -> tuple[str, ...]:
    """What an option adds to `helm install RELEASE CHART --namespace NAMESPACE`."""
    return tuple(words(OPTIONS[name])[len(words(CHART)) :])
