"""What native code stands for, and where it calls nnU-Net's own."""

from __future__ import annotations

__all__ = ["FOLLOWED", "OTHER_MEANING", "PACKAGES", "ROOTS"]

PACKAGES = ("nnunetv2", "batchgeneratorsv2", "batchgenerators", "acvl_utils")

_BATCHES = "batchgenerators.dataloading"
_INTENSITY = "batchgeneratorsv2.transforms.intensity"
_LOCAL = "batchgeneratorsv2.transforms.local"
_NNUNET = "batchgeneratorsv2.transforms.nnunet"
_NOISE = "batchgeneratorsv2.transforms.noise"
_SPATIAL = "batchgeneratorsv2.transforms.spatial"
_UTILS = "batchgeneratorsv2.transforms.utils"
_PREPROCESSOR = "nnunetv2.preprocessing.preprocessors.default_preprocessor:DefaultPreprocessor"
_BLOSC2 = "nnunetv2.training.dataloading.nnunet_dataset:nnUNetDatasetBlosc2"
_FINGERPRINT = "nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor:DatasetFingerprintExtractor"
_PREDICTOR = "nnunetv2.inference.predict_from_raw_data"

# Of each part: a module, or "module:Class", and the names in it; no names are all methods of a class.
ROOTS: dict[str, list[tuple[str, str]]] = {
    "sampling": [
        (
            "nnunetv2.training.dataloading.data_loader:nnUNetDataLoader",
            "__next__ __iter__ generate_train_batch get_bbox get_indices reset "
            "_oversample_last_XX_percent _probabilistic_oversampling",
        ),
    ],
    "data set": [
        ("nnunetv2.training.dataloading.nnunet_dataset:nnUNetDatasetBlosc2", "load_case __getitem__"),
        ("nnunetv2.training.dataloading.nnunet_dataset:nnUNetDatasetNumpy", "load_case __getitem__"),
    ],
    "augmenters": [
        (f"{_BATCHES}.nondet_multi_threaded_augmenter:NonDetMultiThreadedAugmenter", "__next__ __iter__ next restart"),
        (f"{_BATCHES}.multi_threaded_augmenter:MultiThreadedAugmenter", "__next__ __iter__ next restart"),
        (f"{_BATCHES}.single_threaded_augmenter:SingleThreadedAugmenter", "__next__ __iter__ next"),
    ],
    "transforms": [
        *((f"{_INTENSITY}.{name}", "") for name in (
            "brightness:MultiplicativeBrightnessTransform",
            "brightness:BrightnessAdditiveTransform",
            "contrast:BGContrast",
            "contrast:ContrastTransform",
            "gamma:GammaTransform",
            "gaussian_noise:GaussianNoiseTransform",
            "inversion:InvertImageTransform",
            "random_clip:CutOffOutliersTransform",
        )),
        *((f"{_LOCAL}.{name}", "") for name in (
            "brightness_gradient:BrightnessGradientAdditiveTransform",
            "local_contrast:LocalContrastTransform",
            "local_gamma:LocalGammaTransform",
            "local_smoothing:LocalSmoothingTransform",
        )),
        *((f"{_NNUNET}.{name}", "") for name in (
            "random_binary_operator:ApplyRandomBinaryOperatorTransform",
            "remove_connected_components:RemoveRandomConnectedComponentFromOneHotEncodingTransform",
            "seg_to_onehot:MoveSegAsOneHotToDataTransform",
        )),
        (
            f"{_NNUNET}.random_binary_operator",
            "binary_dilation_torch binary_erosion_torch binary_closing_torch binary_opening_torch",
        ),
        *((f"{_NOISE}.{name}", "") for name in (
            "blank_rectangle:BlankRectangleTransform",
            "gaussian_blur:GaussianBlurTransform",
            "median_filter:MedianFilterTransform",
            "rician:RicianNoiseTransform",
            "sharpen:SharpeningTransform",
        )),
        *((f"{_SPATIAL}.{name}", "") for name in (
            "channel_misalignment:ChannelMisalignmentTransform",
            "low_resolution:SimulateLowResolutionTransform",
            "mirroring:MirrorTransform",
            "rot90:Rot90Transform",
            "spatial:SpatialTransform",
            "transpose:TransposeAxesTransform",
        )),
        *((f"{_UTILS}.{name}", "") for name in (
            "compose:ComposeTransforms",
            "random:RandomTransform",
            "random:OneOfTransform",
            "deep_supervision_downsampling:DownsampleSegForDSTransform",
            "move_channels:MoveChannelsTransform",
            "nnunet_masking:MaskImageTransform",
            "pseudo2d:Convert3DTo2DTransform",
            "pseudo2d:Convert2DTo3DTransform",
            "remove_label:RemoveLabelTransform",
            "seg_to_regions:ConvertSegmentationToRegionsTransform",
        )),
    ],
    "evaluation": [
        ("nnunetv2.evaluation.evaluate_predictions", "compute_metrics"),
        ("nnunetv2.ensembling.ensemble", "merge_files"),
        ("acvl_utils.morphology.morphology_helper", "remove_all_but_largest_component"),
    ],
    "prediction": [
        (
            f"{_PREDICTOR}:nnUNetPredictor",
            "predict_logits_from_preprocessed_data predict_sliding_window_return_logits "
            "_internal_predict_sliding_window_return_logits _internal_get_sliding_window_slicers",
        ),
        (_PREDICTOR, "export_prediction_from_logits convert_predicted_logits_to_segmentation_with_correct_shape"),
        (
            "nnunetv2.inference.export_prediction",
            "convert_predicted_logits_to_segmentation_with_correct_shape export_prediction_from_logits resample_and_save",
        ),
        ("nnunetv2.inference.data_iterators", "preprocessing_iterator_fromfiles preprocessing_iterator_fromnpy"),
        ("nnunetv2.utilities.utils", "create_lists_from_splitted_dataset_folder"),
        ("nnunetv2.preprocessing.cropping.cropping", "crop_to_nonzero"),
        (
            "nnunetv2.preprocessing.resampling.default_resampling",
            "resample_data_or_seg resample_data_or_seg_to_shape resample_data_or_seg_to_spacing",
        ),
        (_PREPROCESSOR, "run_case run_case_npy _normalize"),
        ("nnunetv2.utilities.label_handling.label_handling:LabelManager", ""),
        *((f"nnunetv2.preprocessing.normalization.default_normalization_schemes:{name}", "") for name in (
            "ZScoreNormalization",
            "CTNormalization",
            "NoNormalization",
            "RescaleTo01Normalization",
            "RGBTo01Normalization",
        )),
    ],
    "preprocessing": [
        (_PREPROCESSOR, "run_case_save _sample_foreground_locations modify_seg_fn"),
        (_BLOSC2, "save_case"),
        (_FINGERPRINT, "analyze_case collect_foreground_intensities"),
    ],
}  # fmt: skip

# Native code calls these itself, or reads what they have: what a user puts there is followed.
FOLLOWED: tuple[str, ...] = (
    f"{_BATCHES}.nondet_multi_threaded_augmenter:DataLoader",  # only asked for as a type
    f"{_PREDICTOR}:nnUNetPredictor._internal_maybe_mirror_and_predict",
    f"{_PREDICTOR}:compute_gaussian",
    f"{_PREDICTOR}:default_num_processes",  # the environment's nnUNet_def_n_proc; no processes are started
    "nnunetv2:*",  # its folder, and modules
    f"{_PREPROCESSOR}.run",  # of all cases; what reads one uses the name for something else
    f"{_FINGERPRINT}.run",
)

# A member whose meaning in some versions is not what native code does, by key, or by its beginning and "*": versions.
_SPATIAL_TRANSFORM = f"{_SPATIAL}.spatial:SpatialTransform"
OTHER_MEANING: dict[str, str] = {
    # Labels that tie, and what lies outside of the image.
    f"{_SPATIAL_TRANSFORM}._apply_to_image": "0.3.5",
    f"{_SPATIAL_TRANSFORM}._apply_to_segmentation": "0.3.5",
    f"{_SPATIAL_TRANSFORM}._compute_out_of_bounds_mask": "0.3.5",
    f"{_SPATIAL_TRANSFORM}._requires_constant_padding_fixup": "0.3.5",
    # A label with half of the weight wins, the last one of several; later the one with the most.
    "batchgenerators.augmentations.utils:resize_segmentation": "0.25.1 0.25.2 0.25.3",
    # Preprocessed files with other codecs, filters and blocks.
    f"{_PREPROCESSOR}.run_case_save": "2.6.0 2.6.2 2.6.3 2.6.4 2.7.0",
}
