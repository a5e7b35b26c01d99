"""The YAML that test_lhotse_yaml.py builds; each entry can be copied into a recipe."""

LHOTSE = """\
cuts_file: !PLACEHOLDER       # JSONL of cuts, with features stored
other_cuts_file: !PLACEHOLDER # cuts with the same ids, for pairs
noise_file: !PLACEHOLDER      # JSONL of cuts of noise
rir_file: !PLACEHOLDER        # JSONL of recordings of room impulse responses

cuts: !apply:lhotse.load_manifest [!ref <cuts_file>]
lazy_cuts: !apply:lhotse.load_manifest_lazy [!ref <cuts_file>]
other_cuts: !apply:lhotse.load_manifest [!ref <other_cuts_file>]
noises: !apply:lhotse.load_manifest [!ref <noise_file>]
rirs: !apply:lhotse.load_manifest [!ref <rir_file>]

# A call has named arguments or others in YAML, and Lhotse's samplers take both: hence sampler_of.
samplers:
  simple: !new:lhotse.dataset.SimpleCutSampler
    cuts: !ref <cuts>
    max_duration: 12.0
    shuffle: True
  bucketing: !apply:toolkit.dataio.lhotse_repairs.sampler_of
    - !name:lhotse.dataset.BucketingSampler
      max_duration: 12.0
      num_buckets: 3
      shuffle: True
      drop_last: False
    - !ref <cuts>
  dynamic: !apply:toolkit.dataio.lhotse_repairs.sampler_of
    - !name:lhotse.dataset.DynamicCutSampler
      max_duration: 12.0
      max_cuts: 4
      shuffle: True
      seed: trng               # an integer, "trng" (another order in each run) or "randomized" (of make_worker_init_fn)
    - !ref <lazy_cuts>
  dynamic_bucketing: !apply:toolkit.dataio.lhotse_repairs.sampler_of
    - !name:lhotse.dataset.DynamicBucketingSampler
      max_duration: 12.0
      quadratic_duration: 15.0
      num_buckets: 3
      buffer_size: 100
      shuffle: True
    - !ref <lazy_cuts>
  by_seconds: !apply:toolkit.dataio.lhotse_repairs.sampler_of
    - !name:lhotse.dataset.DynamicBucketingSampler
      constraint: !new:lhotse.dataset.TimeConstraint
        max_duration: 12.0
        max_cuts: 5
      duration_bins: [1.0, 2.0]
    - !ref <lazy_cuts>
  by_examples_of_a_bucket: !apply:toolkit.dataio.lhotse_repairs.sampler_of
    - !name:lhotse.dataset.DynamicBucketingSampler
      constraint: !new:toolkit.dataio.multimodal_sampling.FixedBucketBatchSizeConstraint2D
        max_seq_len_buckets: [1.0, 2.0, 4.0]
        batch_sizes: [6, 4, 2]
      duration_bins: [1.0, 2.0, 4.0]
    - !ref <lazy_cuts>
  by_tokens: !apply:toolkit.dataio.lhotse_repairs.sampler_of
    - !name:lhotse.dataset.DynamicBucketingSampler
      constraint: !new:toolkit.dataio.multimodal_sampling.MultimodalSamplingConstraint
        token_equivalent_duration: 0.08
        batch_tokens: 150
      num_buckets: 3
    - !ref <lazy_cuts>
  pairs: !new:lhotse.dataset.CutPairsSampler
    source_cuts: !ref <cuts>
    target_cuts: !ref <other_cuts>
    max_source_duration: 12.0
    shuffle: True
  round_robin: !new:lhotse.dataset.RoundRobinSampler
    - !apply:toolkit.dataio.lhotse_repairs.sampler_of
      - !name:lhotse.dataset.DynamicCutSampler
        max_duration: 12.0
      - !ref <lazy_cuts>
    - !apply:toolkit.dataio.lhotse_repairs.sampler_of
      - !name:lhotse.dataset.DynamicCutSampler
        max_cuts: 2
      - !ref <other_cuts>
  zip: !new:lhotse.dataset.ZipSampler
    - !apply:toolkit.dataio.lhotse_repairs.sampler_of
      - !name:lhotse.dataset.DynamicCutSampler
        max_duration: 12.0
      - !ref <lazy_cuts>
    - !apply:toolkit.dataio.lhotse_repairs.sampler_of
      - !name:lhotse.dataset.DynamicCutSampler
        max_cuts: 2
      - !ref <other_cuts>
  stateless: !new:toolkit.dataio.lhotse_repairs.StatelessSampler  # endless
    cuts_paths: !ref <cuts_file>
    base_seed: 7
    max_duration: 12.0
    num_buckets: 3


text_sampler: !name:lhotse.dataset.DynamicBucketingSampler  # of texts: `hparams["text_sampler"](texts)`
  constraint: !new:lhotse.dataset.TokenConstraint
    max_tokens: 64
    quadratic_length: 128
  num_buckets: 2

batches:
  stored_features: !new:lhotse.dataset.K2SpeechRecognitionDataset
    input_strategy: !new:lhotse.dataset.PrecomputedFeatures
  audio: !new:lhotse.dataset.K2SpeechRecognitionDataset
    return_cuts: True
    input_strategy: !new:lhotse.dataset.AudioSamples
      fault_tolerant: True     # cuts that cannot be read are left out of the batch
  features: !new:lhotse.dataset.K2SpeechRecognitionDataset
    input_strategy: !new:lhotse.dataset.OnTheFlyFeatures
      extractor: !new:lhotse.Fbank
      fault_tolerant: True

cut_transforms:
  concatenate: !new:lhotse.dataset.CutConcatenate
    gap: 0.1
    duration_factor: 2.0
  mix: !new:lhotse.dataset.CutMix
    cuts: !ref <noises>
    snr: [10, 20]
    p: 1.0
    seed: randomized
  padding: !new:lhotse.dataset.ExtraPadding
    extra_seconds: 0.3
  speed: !new:lhotse.dataset.PerturbSpeed
    factors: [0.9, 1.1]
    p: 1.0
  tempo: !new:toolkit.dataio.lhotse_repairs.PerturbTempo
    factors: [0.9, 1.1]
    p: 1.0
  volume: !new:lhotse.dataset.PerturbVolume
    p: 1.0
    scale_low: 0.125
    scale_high: 2.0
  reverberation: !new:lhotse.dataset.ReverbWithImpulseResponse
    rir_recordings: !ref <rirs>
    p: 1.0

signal_transforms:
  spec_augment: !new:lhotse.dataset.SpecAugment
    time_warp_factor: 80
    num_frame_masks: 2
    features_mask_size: 20
    p: 1.0
  mvn: !new:lhotse.dataset.GlobalMVN
    feature_dim: 80
  smoothing: !new:lhotse.dataset.RandomizedSmoothing
    sigma: 0.1
    sample_sigma: False
    p: 1.0
  dereverberation: !new:lhotse.dataset.signal_transforms.DereverbWPE  # of waveforms; needs `pip install nara-wpe`
"""
