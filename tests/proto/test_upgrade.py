"""Nets and solvers in the syntax of 2013 and 2014, as BVLC Caffe and the DeconvNet release wrote them."""

import pytest

from deconvnet.core.proto import (
    V1_TYPES,
    PrototxtError,
    caffe_pb2,
    parse,
    upgrade_net,
    upgrade_solver,
)


def net(text):
    return parse(text, caffe_pb2.NetParameter())


def solver(text):
    return parse(text, caffe_pb2.SolverParameter())


def assert_upgrades(old, new):
    before = net(old)
    upgraded = upgrade_net(before, "net.prototxt")
    assert upgraded == net(new)
    assert before == net(old), "the net given is left as it is"


def test_v1_layer_becomes_a_layer_of_today():
    assert_upgrades(
        """
        name: "old" force_backward: true state { phase: TEST }
        layers {
          name: "conv1_1" type: CONVOLUTION bottom: "data" top: "conv1_1"
          blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
          convolution_param { num_output: 64 pad: 1 kernel_size: 3 weight_filler { type: "gaussian" std: 0.01 } }
          include { phase: TRAIN stage: "a" } exclude: { not_stage: "b" } loss_weight: 0.5
        }
        """,
        """
        name: "old" force_backward: true state { phase: TEST }
        layer {
          name: "conv1_1" type: "Convolution" bottom: "data" top: "conv1_1"
          param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
          convolution_param { num_output: 64 pad: 1 kernel_size: 3 weight_filler { type: "gaussian" std: 0.01 } }
          include { phase: TRAIN stage: "a" } exclude: { not_stage: "b" } loss_weight: 0.5
        }
        """,
    )


def test_v1_shared_parameters_keep_names_and_modes():
    assert_upgrades(
        'layers { type: INNER_PRODUCT param: "w" param: "b" blob_share_mode: PERMISSIVE blobs_lr: [1, 2, 3] }',
        """layer { type: "InnerProduct"
             param { name: "w" share_mode: PERMISSIVE lr_mult: 1 } param { name: "b" lr_mult: 2 } param { lr_mult: 3 } }""",
    )


def test_layers_of_the_release_keep_their_settings():
    assert_upgrades(
        """
        layers { name: "bn1_1" type: BN bn_param { bn_mode: INFERENCE shift_filler { value: 0.001 } } }
        layers { name: "unpool5" type: UNPOOLING unpooling_param { unpool: MAX kernel_size: 2 stride: 2 unpool_size: 14 } }
        layers { name: "seg-accuracy" type: ELTWISE_ACCURACY eltwise_accuracy_param { ignore_label: 255 } }
        layers { name: "seg-loss" type: SOFTMAX_LOSS loss_param { ignore_label: 255 } }
        """,
        """
        layer { name: "bn1_1" type: "BN" bn_param { bn_mode: INFERENCE shift_filler { value: 0.001 } } }
        layer { name: "unpool5" type: "Unpooling" unpooling_param { unpool: MAX kernel_size: 2 stride: 2 unpool_size: 14 } }
        layer { name: "seg-accuracy" type: "EltwiseAccuracy" eltwise_accuracy_param { ignore_label: 255 } }
        layer { name: "seg-loss" type: "SoftmaxWithLoss" loss_param { ignore_label: 255 } }
        """,
    )


def test_deeplabs_layers_keep_their_settings():
    assert_upgrades(
        """
        layers { name: "fc6" type: CONVOLUTION strict_dim: false convolution_param { num_output: 4096 pad: 6 hole: 4 kernel_size: 4 } }
        layers { name: "fc7" type: CONVOLUTION convolution_param { kernel_size: 3 hole_w: 2 } }
        layers { name: "shrink" type: INTERP interp_param { shrink_factor: 8 pad_beg: -1 } }
        layers { name: "loss" type: SOFTMAX_LOSS softmaxloss_param { ignore_label: 255 } }
        layers { name: "accuracy" type: SEG_ACCURACY seg_accuracy_param { ignore_label: 255 ignore_label: 0 reset: false } }
        layers { name: "mat" type: MAT_WRITE mat_write_param { prefix: "fc8/" source: "ids.txt" strip: 0 period: 1 } }
        """,
        """
        layer { name: "fc6" type: "Convolution" convolution_param { num_output: 4096 pad: 6 dilation: 4 kernel_size: 4 } }
        layer { name: "fc7" type: "Convolution" convolution_param { kernel_size: 3 dilation: 1 dilation: 2 } }
        layer { name: "shrink" type: "Interp" interp_param { shrink_factor: 8 pad_beg: -1 } }
        layer { name: "loss" type: "SoftmaxWithLoss" loss_param { ignore_label: 255 } }
        layer { name: "accuracy" type: "SegAccuracy" seg_accuracy_param { ignore_label: 255 ignore_label: 0 reset: false } }
        layer { name: "mat" type: "MatWrite" mat_write_param { prefix: "fc8/" source: "ids.txt" strip: 0 period: 1 } }
        """,
    )


def test_a_hole_is_a_dilation_in_todays_syntax_too():
    assert_upgrades(
        'layer { type: "Convolution" convolution_param { hole: 2 } }',
        'layer { type: "Convolution" convolution_param { dilation: 2 } }',
    )


@pytest.mark.parametrize("fields", ["hole: 2 dilation: 2", "hole: 2 hole_h: 2"])
def test_a_dilation_is_given_in_one_word(fields):
    text = f'layer {{ name: "fc6" type: "Convolution" convolution_param {{ {fields} }} }}'
    with pytest.raises(PrototxtError, match="layer 'fc6': give dilation, or hole, or hole_h and hole_w"):
        upgrade_net(net(text))


def test_every_v1_message_arrives_in_the_field_of_the_same_name():
    for field in caffe_pb2.V1LayerParameter.DESCRIPTOR.fields:
        if field.name.endswith("_param"):
            old = caffe_pb2.NetParameter()
            message = getattr(old.layers.add(), field.name)
            message.SetInParent()
            today = "loss_param" if field.name == "softmaxloss_param" else field.name
            assert getattr(upgrade_net(old).layer[0], today) == message
            assert upgrade_net(old).layer[0].HasField(today)


@pytest.mark.parametrize("v1, today", V1_TYPES.items())
def test_v1_type_gets_its_name_of_today(v1, today):
    assert upgrade_net(net(f"layers {{ type: {v1} }}")).layer[0].type == today


def test_v1_names_of_the_release_are_those_of_the_design():
    expected = {"IMAGE_SEG_DATA": "ImageSegData", "WINDOW_SEG_DATA": "WindowSegData", "SOFTMAX_LOSS": "SoftmaxWithLoss"}
    assert {name: V1_TYPES[name] for name in expected} == expected


def test_v1_crop_asks_the_net_to_compute_the_offset():
    today = 'layer { type: "Crop" bottom: "a" bottom: "b" crop_param { computed: true } }'
    assert_upgrades('layers { type: CROP bottom: "a" bottom: "b" }', today)


@pytest.mark.parametrize("v1, today, param", [
    ("DATA", "Data", "data_param"),
    ("IMAGE_DATA", "ImageData", "image_data_param"),
    ("IMAGE_SEG_DATA", "ImageSegData", "image_data_param"),
    ("WINDOW_DATA", "WindowData", "window_data_param"),
])  # fmt: skip
def test_v1_data_parameters_move_to_transform_param(v1, today, param):
    assert_upgrades(
        f"""layers {{ type: {v1} transform_param {{ mean_value: 1 crop_size: 5 }} {param} {{
              source: "list" batch_size: 4 scale: 0.5 mean_file: "m" crop_size: 9 mirror: true }} }}""",
        f"""layer {{ type: "{today}" {param} {{ source: "list" batch_size: 4 }}
              transform_param {{ mean_value: 1 scale: 0.5 mean_file: "m" crop_size: 9 mirror: true }} }}""",
    )


def test_blobs_are_kept_to_the_bit_and_v1_without_type_is_kept_too():
    old = caffe_pb2.NetParameter()
    blob = old.layers.add(name="conv").blobs.add(num=1, channels=1, height=1, width=3, data=[1e-45, -0.0, 3.5])
    new = upgrade_net(old)
    assert new.layer[0].blobs[0].SerializeToString() == blob.SerializeToString()
    assert not new.layer[0].HasField("type")


V0 = """
layers { layer { name: "data" type: "images" source: "list" batchsize: 8 meanfile: "mean" scale: 0.5 cropsize: 7
         mirror: true rand_skip: 3 shuffle_images: true new_height: 9 new_width: 10 } top: "data" top: "label" }
layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "data" top: "pad1" }
layers { layer { name: "conv1" type: "conv" num_output: 4 kernelsize: 3 stride: 2 group: 2 biasterm: false
         weight_filler { type: "xavier" } blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
         blobs { data: [1, 2] } } bottom: "pad1" top: "conv1" }
layers { layer { name: "relu1" type: "relu" } bottom: "conv1" top: "conv1" }
layers { layer { name: "pool1" type: "pool" pool: AVE pad: 1 kernelsize: 3 stride: 2 } bottom: "conv1" top: "pool1" }
layers { layer { name: "norm1" type: "lrn" local_size: 3 alpha: 0.1 beta: 0.2 k: 2 } bottom: "pool1" top: "norm1" }
layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.3 } bottom: "norm1" top: "norm1" }
layers { layer { name: "cat" type: "concat" concat_dim: 0 } bottom: "norm1" bottom: "pool1" top: "cat" }
layers { layer { name: "ip" type: "innerproduct" num_output: 5 bias_filler { value: 1 } } bottom: "cat" top: "ip" }
layers { layer { name: "loss" type: "softmax_loss" } bottom: "ip" bottom: "label" }
"""
V0_TODAY = """
layer { name: "data" type: "ImageData" top: "data" top: "label"
  image_data_param { source: "list" batch_size: 8 rand_skip: 3 shuffle: true new_height: 9 new_width: 10 }
  transform_param { mean_file: "mean" scale: 0.5 crop_size: 7 mirror: true } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" blobs { data: [1, 2] }
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 4 pad: 2 kernel_size: 3 stride: 2 group: 2 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { pool: AVE pad: 1 kernel_size: 3 stride: 2 } }
layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1" lrn_param { local_size: 3 alpha: 0.1 beta: 0.2 k: 2 } }
layer { name: "drop" type: "Dropout" bottom: "norm1" top: "norm1" dropout_param { dropout_ratio: 0.3 } }
layer { name: "cat" type: "Concat" bottom: "norm1" bottom: "pool1" top: "cat" concat_param { concat_dim: 0 } }
layer { name: "ip" type: "InnerProduct" bottom: "cat" top: "ip" inner_product_param { num_output: 5 bias_filler { value: 1 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }
"""


def test_v0_net_becomes_a_net_of_today():
    assert_upgrades(V0, V0_TODAY)


def test_v0_data_windows_and_hdf5():
    assert_upgrades(
        """
        layers { layer { type: "data" source: "db" batchsize: 2 rand_skip: 1 scale: 2 } }
        layers { layer { type: "hdf5_data" source: "f" batchsize: 3 } }
        layers { layer { type: "hdf5_output" hdf5_output_param { file_name: "f" } } }
        layers { layer { type: "infogain_loss" source: "matrix" } }
        layers { layer { type: "window_data" source: "w" batchsize: 4 det_fg_threshold: 0.1 det_bg_threshold: 0.2
                 det_fg_fraction: 0.3 det_context_pad: 5 det_crop_mode: "square" } }
        """,
        """
        layer { type: "Data" data_param { source: "db" batch_size: 2 rand_skip: 1 } transform_param { scale: 2 } }
        layer { type: "HDF5Data" hdf5_data_param { source: "f" batch_size: 3 } }
        layer { type: "HDF5Output" hdf5_output_param { file_name: "f" } }
        layer { type: "InfogainLoss" infogain_loss_param { source: "matrix" } }
        layer { type: "WindowData" window_data_param { source: "w" batch_size: 4 fg_threshold: 0.1 bg_threshold: 0.2
                fg_fraction: 0.3 context_pad: 5 crop_mode: "square" } }
        """,
    )


def test_v0_setting_that_its_type_does_not_have_is_dropped_with_a_warning():
    with pytest.warns(UserWarning, match="net.prototxt: 'kernelsize' of V0 layer 'r' is dropped"):
        upgraded = upgrade_net(net('layers { layer { name: "r" type: "relu" kernelsize: 3 } }'), "net.prototxt")
    assert upgraded == net('layer { name: "r" type: "ReLU" }')


def test_v0_padding_layer_counts_only_while_it_is_the_last_to_write_its_top():
    assert_upgrades(
        """
        layers { layer { name: "p" type: "padding" pad: 2 } bottom: "data" top: "a" }
        layers { layer { name: "r" type: "conv" } bottom: "a" top: "a" }
        layers { layer { name: "c" type: "conv" } bottom: "a" top: "c" }
        """,
        """
        layer { name: "r" type: "Convolution" convolution_param { pad: 2 } bottom: "data" top: "a" }
        layer { name: "c" type: "Convolution" bottom: "a" top: "c" }
        """,
    )


@pytest.mark.parametrize(
    "shapes",
    ["input_shape { dim: [1, 3, 5, 7] } input_shape { dim: [2, 4, 1, 1] }", "input_dim: [1, 3, 5, 7, 2, 4, 1, 1]"],
)
def test_inputs_become_an_input_layer_placed_first(shapes):
    assert_upgrades(
        f'input: "data" input: "label" {shapes} layer {{ name: "r" type: "ReLU" bottom: "data" top: "r" }}',
        """
        layer { name: "input" type: "Input" top: "data" top: "label"
                input_param { shape { dim: [1, 3, 5, 7] } shape { dim: [2, 4, 1, 1] } } }
        layer { name: "r" type: "ReLU" bottom: "data" top: "r" }
        """,
    )


def test_inputs_of_other_than_four_axes_are_kept():
    upgraded = upgrade_net(net('input: "clip" input_shape { dim: [8, 100] }'))
    assert list(upgraded.layer[0].input_param.shape[0].dim) == [8, 100]


@pytest.mark.parametrize(
    "text, words",
    [
        ('input: "a" input: "b" input_dim: [1, 3, 5, 7]', "2 input but 4 input_dim; give four for each input"),
        ('input: "a" input: "b" input_shape { dim: 1 }', "2 input but 1 input_shape"),
        ('input: "a"', "1 input but 0 input_dim"),
        ("input_dim: [1, 3, 5, 7]", "0 input but 4 input_dim"),
        ('layer { name: "a" } layers { name: "b" }', "both 'layer' (first: 'a') and 'layers' (first: 'b')"),
        ('layers { layer { name: "c" type: "convv" } }', "unknown type 'convv' of V0 layer 'c'; did you mean 'conv'?"),
        ('layers { type: RELU layer { name: "c" type: "conv" } }', "layer 'c' has 'type' outside of the V0 layer"),
        ('layers { layer { name: "p" type: "padding" } top: "a" }', "padding layer 'p' needs one bottom and one top"),
        (
            """layers { layer { name: "p" type: "padding" } bottom: "d" top: "a" }
               layers { layer { name: "r" type: "relu" } bottom: "a" top: "b" }""",
            "padding layer 'p' feeds 'r' of type 'relu'; only conv and pool can pad",
        ),
    ],
)
def test_what_cannot_be_upgraded_is_said_in_one_line(text, words):
    with pytest.raises(PrototxtError) as caught:
        upgrade_net(net(text), "net.prototxt")
    assert str(caught.value).startswith("net.prototxt: ") and words in str(caught.value)


def test_net_of_today_is_returned_as_it_is():
    today = net('layer { name: "r" type: "ReLU" }')
    assert upgrade_net(today) is today


def test_three_params_of_an_old_batch_norm_are_dropped():
    assert_upgrades(
        'layer { type: "BatchNorm" param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 } }',
        'layer { type: "BatchNorm" }',
    )


@pytest.mark.parametrize("old, today", [
    ("SGD", "SGD"), ("NESTEROV", "Nesterov"), ("ADAGRAD", "AdaGrad"),
    ("RMSPROP", "RMSProp"), ("ADADELTA", "AdaDelta"), ("ADAM", "Adam"),
])  # fmt: skip
def test_solver_type_becomes_type(old, today):
    before = solver(f"base_lr: 0.1 solver_type: {old}")
    assert upgrade_solver(before) == solver(f'base_lr: 0.1 type: "{today}"')
    assert before.HasField("solver_type")


def test_solver_with_both_types_is_refused():
    with pytest.raises(PrototxtError, match='s.prototxt: has both type: "Adam" and solver_type: SGD'):
        upgrade_solver(solver('type: "Adam" solver_type: SGD'), "s.prototxt")


def test_solver_of_today_is_returned_as_it_is():
    today = solver('type: "Adam" net: "n"')
    assert upgrade_solver(today) is today


def test_nets_inside_a_solver_are_upgraded():
    assert upgrade_solver(
        solver(
            "net_param { layers { type: RELU } } train_net_param { name: 'x' } test_net_param { layers { type: BN } }"
        )
    ) == solver(
        """net_param { layer { type: "ReLU" } } train_net_param { name: "x" } test_net_param { layer { type: "BN" } }"""
    )


def test_of_two_ways_to_say_an_inputs_size_input_shape_counts():
    text = 'input: "a" input_shape { dim: 2 dim: 3 } input_dim: [1, 1, 1, 1]'
    net = upgrade_net(parse(text, caffe_pb2.NetParameter()))
    assert [list(shape.dim) for shape in net.layer[0].input_param.shape] == [[2, 3]]
