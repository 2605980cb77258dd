#!/usr/bin/env bash
# GRPO on RL_DATA with the paper's values (arXiv 2512.04072), for verl 0.9.1 with vLLM:
#
#   pip install 'verl[vllm,fsdp]==0.9.1' && pip install --no-deps .     # the graders, for reward.py
#   MODEL=saves/skillfactory-sft bash examples/verl_grpo.sh
#
# from the checkout's root. MODEL, RUN and GPUS say what to train, on which run, on how many GPUs of this
# node. What stands behind the script's name goes to verl: overrides, and `--cfg job` last to see all settings.
set -euo pipefail

MODEL=${MODEL:-saves/skillfactory-sft}
RUN=${RUN:-runs/countdown_3arg-Qwen2.5-1.5B-Instruct}
GPUS=${GPUS:-8}
# Ray's workers run in folders of their own, so paths are given whole.
DATA=$(realpath --canonicalize-missing "$RUN/RL_DATA")
if [[ -d $MODEL ]]; then MODEL=$(realpath "$MODEL"); fi

arguments=(
  # GRPO, no KL, neither in the reward nor in the loss
  algorithm.adv_estimator=grpo
  algorithm.use_kl_in_reward=False
  actor_rollout_ref.actor.use_kl_loss=False

  data.train_files="$DATA/train.parquet"
  data.val_files="$DATA/val.parquet"
  data.train_batch_size=256
  data.max_prompt_length=512
  data.max_response_length=4096
  # a longer question is left out; without this it would lose its beginning
  data.filter_overlong_prompts=True

  # verl 0.9 has no reward manager `batch` any more: it asks for one score at a time
  reward.custom_reward_function.path="$DATA/reward.py"
  reward.custom_reward_function.name=compute_score
  reward.reward_manager.name=naive

  actor_rollout_ref.model.path="$MODEL"
  actor_rollout_ref.actor.optim.lr=1e-6
  actor_rollout_ref.actor.ppo_mini_batch_size=32
  actor_rollout_ref.actor.use_dynamic_bsz=True
  actor_rollout_ref.rollout.name=vllm
  actor_rollout_ref.rollout.n=16
  actor_rollout_ref.rollout.tensor_model_parallel_size=1

  # whichever ends first ends training, and 30 epochs, verl's default, of 900 questions are only 90 steps
  trainer.total_training_steps=150
  trainer.total_epochs=150
  trainer.n_gpus_per_node="$GPUS"
  trainer.logger=console
  trainer.test_freq=10
  trainer.save_freq=50
  trainer.project_name=skillfactory
  trainer.experiment_name=grpo
)
exec python3 -m verl.trainer.main_ppo "${arguments[@]}" "$@"
