print('mine: typing')
